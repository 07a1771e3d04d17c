"""RePaint's resampling: algorithm 1 of Lugmayr et al. 2022 around diffusers' steps.

RePaintScheduler draws one noise for the step and for the known part, and goes back one step off
(from x_0, and not from where one step is left): its list of times, which is the authors'
get_schedule_jump, is run here by the paper's formulas, with other schedulers' steps.
"""

import itertools

import diffusers
import pytest
import torch
from tables import draw
from test_chains import CLASSES, IMAGE, MASK, allowed, predictions_of
from test_solvers import denoiser_of, kept
from test_tables import SCHEDULES, SHAPE, Comparison, generators


def repaint_times(steps, jump_length, jump_samples):
    """The times of states of get_schedule_jump, the last of them -1, for T = steps."""
    scheduler = diffusers.RePaintScheduler(num_train_timesteps=steps)
    scheduler.set_timesteps(steps, jump_length, jump_samples)
    return [*scheduler.timesteps.tolist(), -1]


def run_repaint(scheduler, steps, jump_length, jump_samples, denoiser, **arguments):
    """Algorithm 1 of Lugmayr et al. 2022; the step of the unknown part is the scheduler's.

    Line 5 with the root of the variance, as its equation 8a has it.
    """
    scheduler.set_timesteps(steps)
    scaled = hasattr(scheduler, "sigmas")
    # Of the state with index i; -1 is x_0.
    if scaled:  # x/alpha, so that the forward process adds s_hi² - s_lo².
        variances = [*reversed((scheduler.sigmas[:-1].double() ** 2).tolist()), 0.0]
        level = [(1.0, variance) for variance in variances]
    else:
        alpha_bars = scheduler.alphas_cumprod[scheduler.timesteps.flip(0)].double()
        level = [(alpha_bar, 1 - alpha_bar) for alpha_bar in [*alpha_bars.tolist(), 1.0]]
    streams = generators()
    x = draw(streams, SHAPE) * scheduler.init_noise_sigma
    states = repaint_times(steps, jump_length, jump_samples)
    i = 0
    while i + 1 < len(states):
        state, after = states[i], states[i + 1]
        if after < state:
            t = scheduler.timesteps[steps - 1 - state]
            if scaled:
                scheduler.set_begin_index(steps - 1 - state)
                scheduler._step_index = None
                scheduler.is_scale_input_called = False
            out = denoiser(scheduler.scale_model_input(x, t), t)
            unknown = scheduler.step(out, t, x, generator=streams, **arguments).prev_sample
            known = IMAGE
            if after >= 0:
                alpha_bar, variance = level[after]
                known = alpha_bar**0.5 * IMAGE + variance**0.5 * draw(streams, SHAPE)
            x = MASK * known + (1 - MASK) * unknown
            i += 1
        else:  # The transitions back, one after another, are one.
            top = i + jump_length
            assert states[i : top + 1] == list(range(state, state + jump_length + 1))
            (low, low_variance), (high, high_variance) = level[state], level[states[top]]
            added = high_variance - high / low * low_variance
            x = (high / low) ** 0.5 * x + added**0.5 * draw(streams, SHAPE)
            i = top
    return x


REPAINT = {
    "ddpm": ({}, {"variance_type": "fixed_large"}),
    "ddim": ({}, {"eta": 0.5}),
    "euler": ({},),
    "euler_ancestral": ({},),
}


@pytest.mark.parametrize("sampler", REPAINT)
def test_repaint(sampler, record_error, request):
    denoiser = denoiser_of(torch.float32)
    full = request.config.getoption("--full")
    comparison = Comparison(f"{sampler}, RePaint", allowed(sampler), record_error)
    for arguments, prediction, schedule, (steps, jump_length, jump_samples) in itertools.product(
        REPAINT[sampler],
        predictions_of(sampler),
        ("linear", "scaled_linear"),
        ((2, 1, 2), (5, 1, 3), (10, 3, 2), (20, 5, 4), (25, 24, 3), (50, 10, 10)),
    ):
        choice = (sampler, arguments, prediction, schedule, steps)
        if not full and (steps == 50 or not kept((choice, "repaint"), 3)):
            continue
        eta = {key: value for key, value in arguments.items() if key == "eta"}
        scheduler = CLASSES[sampler](
            prediction_type=prediction,
            timestep_spacing="leading",
            **SCHEDULES[schedule],
            **{key: value for key, value in arguments.items() if key != "eta"},
        )
        comparison.add(
            f"{prediction} {schedule} {arguments} N={steps} j={jump_length} r={jump_samples}",
            scheduler.to_json_string(),
            {"steps": steps, "inpainting": True, "jump_length": jump_length, "jump_samples": jump_samples, **eta},
            lambda s=scheduler, n=steps, j=jump_length, r=jump_samples, e=eta: run_repaint(s, n, j, r, denoiser, **e),
            denoiser,
            known=IMAGE,
            mask=MASK,
        )
    comparison.check()
