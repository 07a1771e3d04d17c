"""Chains that are not a plain walk from noise: own times, an image's start, inpainting.

As test_solvers.py, with diffusers' schedulers driven as its pipelines drive them. What they cannot
do, or not right, is brought to what it means:
  - Euler ancestral, LMS, UniPC and DEIS take no times of the caller's: they are given the levels
    that Euler computes for them. DDIM and PNDM neither: they are told a stride for every step.
  - PNDM's times, cut for a shortened start, lack the second call of its first step, or one of the
    Runge-Kutta steps: it is given the list that it would make of the times that are left.
  - LMS counts its order from the first step of the whole list, though it has run none of them: it
    is given the levels that are left.
"""

import inspect
import itertools
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from comparison import DENOISERS, SHAPE, Comparison, generators, kept, our_sample
from diffusers import DDIMScheduler, DDPMScheduler
from tables import draw, make_tables
from test_solvers import CLASSES as SOLVERS
from test_tables import SCHEDULES
from theirs import in_float64, take_levels, walk

CLASSES = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, **SOLVERS}
# What makes a class of several samplers the one.
ARGUMENTS = {
    "dpmpp_2m": ({"solver_order": 2},),
    "sde_dpmpp_2m": ({"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},),
    "dpmpp_3m": ({"solver_order": 3},),
    "pndm": ({"skip_prk_steps": True}, {}),
    "deis": ({"solver_order": 3},),
}
CHOICES = [(name, arguments) for name in CLASSES for arguments in ARGUMENTS.get(name, ({},))]
DENOISER = DENOISERS[torch.float64]
IMAGE = (torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)) * 2 - 1).double()
MASK = torch.rand((SHAPE[0], 1, *SHAPE[2:]), generator=torch.Generator().manual_seed(4)).double()


def predictions_of(sampler):
    knows_sample = sampler not in ("euler_ancestral", "pndm")
    return ("epsilon", "v_prediction") + (("sample",) if knows_sample else ())


def title(sampler, scheduler):
    with_prk = sampler == "pndm" and not scheduler.config.skip_prk_steps
    return f"{sampler} Runge-Kutta" if with_prk else sampler


def plan_pndm(scheduler, times, strides):
    """The calls that PNDM makes for a list of times, and the index of the step of each."""
    n = len(times)
    if scheduler.config.skip_prk_steps:
        prk, steps = [], [0, 0, *range(1, n)] if n > 1 else [0]
        plms = [times[0], times[1], *times[1:]] if n > 1 else times
    else:
        assert n >= 4
        prk, steps = [], [0] * 4 + [1] * 4 + [2] * 4 + list(range(3, n))
        for start, end, stride in zip(times[:3], times[1:4], strides, strict=False):
            prk += [start, end + stride // 2, end + stride // 2, end]
        plms = times[3:]
    scheduler.prk_timesteps = np.array(prk)
    scheduler.plms_timesteps = np.array(plms)
    scheduler.timesteps = torch.tensor([*prk, *plms])
    return steps


# ---- Times of the caller's own.

# Uneven, but not so that a solver of order 3 makes rounding grow beyond what is allowed.
TIMES = (
    [999, 870, 501, 400, 310, 120, 33, 2],
    [938, 700, 650, 644, 301, 150, 77, 50, 49, 48, 31, 22, 10, 9, 5, 3, 1, 0],
    [700, 310, 104, 20],
)
FRACTIONS = [987.5, 700.25, 333.125, 120.0625, 3.5]


def run_on_times(sampler, scheduler, times, table):
    takes_times = "timesteps" in inspect.signature(scheduler.set_timesteps).parameters
    before = lambda i: None  # noqa: E731
    if takes_times:
        scheduler.set_timesteps(timesteps=times)
    elif sampler in ("ddim", "pndm"):
        scheduler.set_timesteps(len(times))
        strides = [a - b for a, b in zip(times, [*times[1:], -1], strict=True)]
        steps = range(len(times))
        scheduler.timesteps = torch.tensor(times)
        if sampler == "pndm":
            steps = plan_pndm(scheduler, times, strides)

        def before(i):
            # The stride is num_train_timesteps // num_inference_steps, in every class.
            scheduler.num_inference_steps = 1
            scheduler.register_to_config(num_train_timesteps=strides[steps[i]])

    else:
        scheduler.set_timesteps(len(times))
        euler = diffusers.EulerDiscreteScheduler.from_config(scheduler.config)
        euler.set_timesteps(timesteps=times)
        scheduler.sigmas = torch.cat([euler.sigmas[:-1], scheduler.sigmas[-1:]])
        scheduler.timesteps = euler.timesteps
    take_levels(scheduler, table)
    streams = generators()
    x = draw(streams, SHAPE).double() * scheduler.init_noise_sigma
    return walk(scheduler, x, DENOISER, streams, before=before)


@pytest.mark.parametrize(("sampler", "arguments"), CHOICES)
def test_own_times(sampler, arguments, allowed_error, request):
    full = request.config.getoption("--full")
    takes_fractions = sampler in ("euler", "euler_ancestral", "heun", "lms")
    lists = [*TIMES, FRACTIONS] if takes_fractions else TIMES
    comparison = Comparison(allowed_error)
    for choice in itertools.product(
        predictions_of(sampler), ("linear", "scaled_linear"), ("leading", "linspace"), range(len(lists))
    ):
        if not full and not kept((sampler, choice), 3):
            continue
        prediction, schedule, spacing, number = choice
        scheduler = CLASSES[sampler](
            prediction_type=prediction, timestep_spacing=spacing, **SCHEDULES[schedule], **arguments
        )
        times = lists[number]
        comparison.add(
            f"{title(sampler, scheduler)}, own times",
            f"{prediction} {schedule} {spacing} {times[:3]}…",
            scheduler.to_json_string(),
            {"timesteps": times},
            partial(run_on_times, sampler, scheduler, times),
        )
    comparison.check()


# ---- Image to image.


def run_from_image(sampler, scheduler, steps, strength, table):
    run = int(steps * strength)
    scheduler.set_timesteps(steps)
    take_levels(scheduler, table)
    begin = (steps - run) * scheduler.order
    timesteps = scheduler.timesteps[begin:]
    if sampler == "pndm":
        stride = scheduler.config.num_train_timesteps // steps
        times = [int(t) for t in scheduler._timesteps[:run][::-1]]
        plan_pndm(scheduler, times, [stride] * run)
        timesteps = scheduler.timesteps
    elif sampler == "lms":
        scheduler.sigmas = scheduler.sigmas[begin:]
        scheduler.timesteps = timesteps
    elif hasattr(scheduler, "sigmas"):
        scheduler.set_begin_index(begin)
    streams = generators()
    with in_float64(scheduler):
        x = scheduler.add_noise(IMAGE, draw(streams, SHAPE).double(), timesteps[:1])
    return walk(scheduler, x, DENOISER, streams, timesteps)


@pytest.mark.parametrize(("sampler", "arguments"), CHOICES)
def test_image_to_image(sampler, arguments, allowed_error, request):
    full = request.config.getoption("--full")
    comparison = Comparison(allowed_error)
    for choice in itertools.product(
        predictions_of(sampler),
        ("linear", "squaredcos_cap_v2"),
        ("leading", "trailing", "linspace"),
        ((10, 0.7), (10, 0.55), (14, 0.29), (20, 0.75), (50, 0.1), (50, 0.8), (30, 1.0)),
    ):
        if not full and not kept((sampler, choice, "image"), 6):
            continue
        prediction, schedule, spacing, (steps, strength) = choice
        scheduler = CLASSES[sampler](
            prediction_type=prediction, timestep_spacing=spacing, **SCHEDULES[schedule], **arguments
        )
        comparison.add(
            f"{title(sampler, scheduler)}, from an image",
            f"{prediction} {schedule} {spacing} N={steps} strength={strength}",
            scheduler.to_json_string(),
            {"steps": steps, "strength": strength},
            partial(run_from_image, sampler, scheduler, steps, strength),
            partial(our_sample, image=IMAGE),
        )
    comparison.check()


# ---- Inpainting.


def run_inpainting(scheduler, steps, table):
    """The loop of diffusers' inpainting pipelines for models that were not trained to inpaint."""
    scheduler.set_timesteps(steps)
    take_levels(scheduler, table)
    streams = generators()
    first = draw(streams, SHAPE).double()

    def after(i, x):
        known = IMAGE
        if i + 1 < len(scheduler.timesteps):
            known = scheduler.add_noise(IMAGE, first, scheduler.timesteps[i + 1 : i + 2])
        return MASK * known + (1 - MASK) * x

    return walk(scheduler, first * scheduler.init_noise_sigma, DENOISER, streams, after=after)


@pytest.mark.parametrize(("sampler", "arguments"), CHOICES)
def test_inpainting(sampler, arguments, allowed_error, request):
    full = request.config.getoption("--full")
    # DDIM and PNDM arrive beside the next time, of which the pipelines take the level, unless the
    # spacing is leading; PNDM's Runge-Kutta stages also where the stride is odd.
    spacings = ("leading",) if sampler in ("ddim", "pndm") else ("leading", "trailing", "linspace")
    comparison = Comparison(allowed_error)
    for choice in itertools.product(predictions_of(sampler), ("linear", "scaled_linear"), spacings, (10, 50)):
        if not full and not kept((sampler, choice, "inpainting"), 2 if len(spacings) == 1 else 5):
            continue
        prediction, schedule, spacing, steps = choice
        scheduler = CLASSES[sampler](
            prediction_type=prediction, timestep_spacing=spacing, **SCHEDULES[schedule], **arguments
        )
        comparison.add(
            f"{title(sampler, scheduler)}, inpainting",
            f"{prediction} {schedule} {spacing} N={steps}",
            scheduler.to_json_string(),
            {"steps": steps, "inpainting": True},
            partial(run_inpainting, scheduler, steps),
            partial(our_sample, known=IMAGE, mask=MASK),
        )
    comparison.check()


# ---- Refusals.


def test_refusals():
    """A contradiction is an error that names what contradicts."""
    ddim = {"_class_name": "DDIMScheduler"}
    cases = [
        ({"timesteps": [10, 20]}, "sampler.timesteps[1]"),
        ({"timesteps": [10.5]}, "10.5 is not a whole number"),
        ({"timesteps": [10], "spacing": "leading"}, "sampler.timestep_spacing leading"),
        ({"steps": 10, "strength": 0.05}, "image_to_image.strength"),
        ({"steps": 10, "inpainting": True, "jump_length": 3}, "inpainting.jump_length"),
        (
            {"kind": "unipc", "steps": 10, "inpainting": True, "jump_length": 3, "jump_samples": 2},
            "inpainting.jump_samples",
        ),
    ]
    answers = make_tables([{"config": ddim, "sampler": sampler} for sampler, _ in cases])
    for answer, (_, message) in zip(answers, cases, strict=True):
        assert message in answer["error"]
