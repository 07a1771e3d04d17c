"""RePaint's resampling: algorithm 1 of Lugmayr et al. 2022 around diffusers' steps.

RePaintScheduler draws one noise for the step and for the known part, and goes back one step off
(from x_0, and not from where one step is left): its list of times, which is the authors'
get_schedule_jump, is run here by the paper's formulas, with other schedulers' steps.
"""

import itertools
from functools import partial

import diffusers
import pytest
import torch
from comparison import DENOISERS, SHAPE, Comparison, generators, kept, our_sample
from tables import draw
from test_chains import CLASSES, IMAGE, MASK, predictions_of
from test_tables import SCHEDULES
from theirs import take_levels, walk


def repaint_times(steps, jump_length, jump_samples):
    """The times of states of get_schedule_jump, the last of them -1, for T = steps."""
    scheduler = diffusers.RePaintScheduler(num_train_timesteps=steps)
    scheduler.set_timesteps(steps, jump_length, jump_samples)
    return [*scheduler.timesteps.tolist(), -1]


def run_repaint(scheduler, steps, jump_length, jump_samples, dtype, table, **arguments):
    """Algorithm 1 of Lugmayr et al. 2022; the step of the unknown part is the scheduler's.

    Line 5 with the root of the variance, as its equation 8a has it.
    """
    scheduler.set_timesteps(steps)
    if dtype == torch.float64:
        take_levels(scheduler, table)
    step = partial(walk, scheduler, denoiser=DENOISERS[dtype], **arguments)
    scaled = hasattr(scheduler, "sigmas")
    # Of the state with index i; -1 is x_0.
    if scaled:  # x/alpha, so that the forward process adds s_hi² - s_lo².
        variances = [*reversed((scheduler.sigmas[:-1].double() ** 2).tolist()), 0.0]
        level = [(1.0, variance) for variance in variances]
    else:
        alpha_bars = scheduler.alphas_cumprod[scheduler.timesteps.flip(0)].double()
        level = [(alpha_bar, 1 - alpha_bar) for alpha_bar in [*alpha_bars.tolist(), 1.0]]
    streams = generators()
    x = draw(streams, SHAPE).to(dtype) * scheduler.init_noise_sigma
    image, mask = IMAGE.to(dtype), MASK.to(dtype)
    states = repaint_times(steps, jump_length, jump_samples)
    i = 0
    while i + 1 < len(states):
        state, after = states[i], states[i + 1]
        if after < state:
            times = scheduler.timesteps[steps - 1 - state :][:1]
            if scaled:
                scheduler.set_begin_index(steps - 1 - state)
                scheduler._step_index = None
                scheduler.is_scale_input_called = False
            unknown = step(x, streams=streams, timesteps=times)
            known = image
            if after >= 0:
                alpha_bar, variance = level[after]
                known = alpha_bar**0.5 * image + variance**0.5 * draw(streams, SHAPE).to(dtype)
            x = mask * known + (1 - mask) * unknown
            i += 1
        else:  # The transitions back, one after another, are one.
            top = i + jump_length
            assert states[i : top + 1] == list(range(state, state + jump_length + 1))
            (low, low_variance), (high, high_variance) = level[state], level[states[top]]
            added = high_variance - high / low * low_variance
            x = (high / low) ** 0.5 * x + added**0.5 * draw(streams, SHAPE).to(dtype)
            i = top
    return x


REPAINT = {
    "ddpm": ({}, {"variance_type": "fixed_large"}),
    "ddim": ({}, {"eta": 0.5}),
    "euler": ({},),
    "euler_ancestral": ({},),
}


@pytest.mark.parametrize("sampler", REPAINT)
def test_repaint(sampler, allowed_error, request):
    full = request.config.getoption("--full")
    comparison = Comparison(allowed_error)
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
        # In float32 as in test_tables.py.
        name, dtype = (f"{sampler}, eta > 0, float32", torch.float32) if eta else (sampler, torch.float64)
        comparison.add(
            f"{name}, RePaint",
            f"{prediction} {schedule} {arguments} N={steps} j={jump_length} r={jump_samples}",
            scheduler.to_json_string(),
            {"steps": steps, "inpainting": True, "jump_length": jump_length, "jump_samples": jump_samples, **eta},
            partial(run_repaint, scheduler, steps, jump_length, jump_samples, dtype, **eta),
            partial(our_sample, dtype=dtype, known=IMAGE.to(dtype), mask=MASK.to(dtype)),
            dtype=dtype,
        )
    comparison.check()
