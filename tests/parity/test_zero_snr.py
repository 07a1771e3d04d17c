"""Schedules rescaled to zero terminal SNR, beside diffusers' own schedulers.

Heun, LMS, PNDM and DEIS do not know the key there: they are given the rescaled betas, and the 2⁻²⁴ in
place of a last alpha_bar of 0 that the other solvers take.

What diffusers itself cannot do is left out:
  - DDIM with eta 1 from a level without signal: the root of 1 - alpha_bar' - sd², which is 0 but for
    the rounding there and then NaN.
  - "sample" with the classes that do not know it, Euler ancestral and PNDM.
"""

import itertools
import json

import diffusers
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from tables import make_tables
from test_solvers import CLASSES, Runs, kept, switch
from test_tables import ALLOWED, SCHEDULES, SPACINGS, STEPS, Comparison, Denoiser, file_of, run_diffusers

PREDICTIONS = ("v_prediction", "sample")
RESCALED = [name for name in SCHEDULES if name != "sigmoid"]
ARGUMENTS = {
    "sde_dpmpp_2m": {"algorithm_type": "sde-dpmsolver++"},
    "dpmpp_3m": {"solver_order": 3},
    "pndm": {"skip_prk_steps": True},
}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_from_noise_alone(sampler, prediction, record_error, request):
    full = request.config.getoption("--full")
    scheduler_class = getattr(diffusers, f"{sampler.upper()}Scheduler")
    denoiser = Denoiser()
    comparison = Comparison(f"{sampler}, zero SNR", ALLOWED[sampler], record_error)
    last = {"ddpm": ("fixed_small", "fixed_large"), "ddim": (0.0, 0.5, 1.0)}
    for choice in itertools.product(RESCALED, SPACINGS, (True, False), last[sampler], STEPS):
        schedule, spacing, clip, option, steps = choice
        if option == 1.0 and spacing != "leading":
            continue  # NaN in diffusers.
        if not full and not kept((sampler, prediction, choice), 6):
            continue
        scheduler = scheduler_class(
            prediction_type=prediction,
            timestep_spacing=spacing,
            clip_sample=clip,
            rescale_betas_zero_snr=True,
            **({"variance_type": option} if sampler == "ddpm" else {}),
            **SCHEDULES[schedule],
        )
        arguments = {} if sampler == "ddpm" else {"eta": option}
        comparison.add(
            f"{prediction} {schedule} {spacing} clip={clip} {option} N={steps}",
            file_of(scheduler),
            {"steps": steps, **arguments},
            lambda s=scheduler, n=steps, a=arguments: run_diffusers(s, n, denoiser, **a),
            denoiser,
        )
    comparison.check()


def rescaled_by_hand(scheduler_class, betas, **arguments):
    """A scheduler of a class that does not know the key."""
    rescaled = rescale_zero_terminal_snr(scheduler_class(**betas).betas)
    kept_betas = {k: v for k, v in betas.items() if k == "num_train_timesteps"}
    scheduler = scheduler_class(trained_betas=rescaled.tolist(), **kept_betas, **arguments)
    scheduler.alphas_cumprod[-1] = 2**-24
    file = {**json.loads(scheduler.to_json_string()), "trained_betas": None, **betas}
    return scheduler, {**file, "rescale_betas_zero_snr": True}


@pytest.mark.parametrize("sampler", CLASSES)
def test_solver(sampler, record_error, request):
    full = request.config.getoption("--full")
    scheduler_class = CLASSES[sampler]
    by_hand = sampler in ("heun", "lms", "pndm", "deis")
    curves = ("schedule",) if sampler in ("euler_ancestral", "pndm") else ("schedule", "karras")
    runs = Runs(sampler, lambda name, *rest: record_error(f"{name}, zero SNR", *rest))
    for choice in itertools.product(PREDICTIONS, RESCALED, SPACINGS, curves, STEPS):
        prediction, schedule, spacing, curve, steps = choice
        if sampler in ("euler_ancestral", "pndm") and prediction == "sample":
            continue  # Not there in diffusers.
        if not full and not kept((sampler, choice), 8):
            continue
        arguments = {
            "prediction_type": prediction,
            "timestep_spacing": spacing,
            **ARGUMENTS.get(sampler, {}),
            **switch(curve),
        }
        if by_hand:
            scheduler, file = rescaled_by_hand(scheduler_class, SCHEDULES[schedule], **arguments)
        else:
            scheduler = scheduler_class(rescale_betas_zero_snr=True, **SCHEDULES[schedule], **arguments)
            file = None
        runs.add(scheduler, steps, file)
    runs.check()


@pytest.mark.parametrize("schedule", RESCALED)
def test_levels(schedule):
    """Every level is diffusers' alphas_cumprod, but for the rounding of its roots and betas."""
    scheduler = diffusers.DDPMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", **SCHEDULES[schedule]
    )
    steps = scheduler.config.num_train_timesteps
    (table,) = make_tables([{"config": file_of(scheduler), "sampler": {"steps": steps}}])
    ours = [table["initial_alpha_bar"], *(row["state_alpha_bar"] for row in table["rows"][:-1])]
    ours = torch.tensor(ours, dtype=torch.float64).flip(0)
    theirs = scheduler.alphas_cumprod.double()
    assert ours[-1] == theirs[-1] == 0
    # Near the end √ᾱ is a small difference of float32 numbers, at the beginning 1-ᾱ is.
    assert (ours.sqrt() - theirs.sqrt()).abs().max() < 1e-6
    assert ((ours - theirs).abs() / (1 - theirs)).max() < 1e-5


def test_refusals():
    (answer,) = make_tables(
        [{"config": {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}, "sampler": {"steps": 10}}]
    )
    assert "rescale_betas_zero_snr" in answer["error"]
