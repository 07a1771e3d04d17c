"""Schedules rescaled to zero terminal SNR, beside diffusers' own schedulers.

Heun, LMS, PNDM and DEIS do not know the key there: they are given the 2⁻²⁴ in place of a last alpha_bar of 0
that the other solvers take. All of them are given our levels, which differences of float32 numbers are made
of: test_levels compares those.

What diffusers itself cannot do is left out:
  - DDIM with eta 1 from a level without signal: the root of 1 - alpha_bar' - sd², which is 0 but for
    the rounding there and then NaN.
  - "sample" with the classes that do not know it, Euler ancestral and PNDM.
"""

import itertools

import diffusers
import pytest
from comparison import Comparison, kept
from tables import make_tables
from test_solvers import CLASSES, add_run, switch
from test_tables import SCHEDULES, SPACINGS, STEPS, add_ddim, file_of
from theirs import take_alpha_bars

PREDICTIONS = ("v_prediction", "sample")
RESCALED = [name for name in SCHEDULES if name != "sigmoid"]
ARGUMENTS = {
    "sde_dpmpp_2m": {"algorithm_type": "sde-dpmsolver++"},
    "dpmpp_3m": {"solver_order": 3},
    "pndm": {"skip_prk_steps": True},
}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_from_noise_alone(sampler, prediction, allowed_error, request):
    full = request.config.getoption("--full")
    scheduler_class = getattr(diffusers, f"{sampler.upper()}Scheduler")
    comparison = Comparison(allowed_error)
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
        take_alpha_bars(scheduler, last=0)
        if sampler == "ddpm":
            add_run(comparison, "ddpm, zero SNR", scheduler, steps)
        else:
            what = f"{prediction} {schedule} {spacing} clip={clip}"
            add_ddim(comparison, what, scheduler, steps, eta=option, group="ddim, zero SNR")
    comparison.check()


@pytest.mark.parametrize("sampler", CLASSES)
def test_solver(sampler, allowed_error, request):
    full = request.config.getoption("--full")
    scheduler_class = CLASSES[sampler]
    knows_the_key = sampler not in ("heun", "lms", "pndm", "deis")
    curves = ("schedule",) if sampler in ("euler_ancestral", "pndm") else ("schedule", "karras")
    comparison = Comparison(allowed_error)
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
        key = {"rescale_betas_zero_snr": True}
        scheduler = scheduler_class(**SCHEDULES[schedule], **arguments, **(key if knows_the_key else {}))
        take_alpha_bars(scheduler, last=2**-24)
        add_run(comparison, f"{sampler}, zero SNR", scheduler, steps, {**file_of(scheduler), **key})
    comparison.check()


@pytest.mark.parametrize("schedule", RESCALED)
def test_levels(schedule):
    """Every level is diffusers' alphas_cumprod, but for the rounding of its roots and betas."""
    scheduler = diffusers.DDPMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", **SCHEDULES[schedule]
    )
    theirs = scheduler.alphas_cumprod.double()
    take_alpha_bars(scheduler, last=0)
    ours = scheduler.alphas_cumprod.double()
    assert ours[-1] == theirs[-1] == 0
    # Near the end √ᾱ is a small difference of float32 numbers, at the beginning 1-ᾱ is.
    assert (ours.sqrt() - theirs.sqrt()).abs().max() < 1e-6
    assert ((ours - theirs).abs() / (1 - theirs)).max() < 1e-5


def test_refusals():
    (answer,) = make_tables(
        [{"config": {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}, "sampler": {"steps": 10}}]
    )
    assert "rescale_betas_zero_snr" in answer["error"]
