"""The tables of the ODE and SDE solvers beside diffusers' own schedulers.

What diffusers itself cannot do right is brought to what it means:
  - A scheduler whose first two times are equal, as whole times of a curve of sigmas can be, skips
    a level unless set_begin_index(0) says where it starts (theirs.py).
  - UniPC and DPM-Solver++ of third order have 0/0 on a last step between equal levels: left out.
  - "sigmoid" and "sample" where a class does not know them: left out, the first being only other
    betas, the second compared through the other classes.
"""

import itertools
import json
from functools import partial

import diffusers
import pytest
import torch
from comparison import DENOISERS, Comparison, kept, their_sample
from tables import make_tables
from test_tables import SCHEDULES, SPACINGS, STEPS

SIGMAS = ("schedule", "karras", "exponential", "beta")
CLASSES = {
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "sde_dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_3m": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "pndm": diffusers.PNDMScheduler,
    "deis": diffusers.DEISMultistepScheduler,
}
# Options of the classes beyond those that all have, each tried with a part of the grid of the rest.
VARIANTS = {
    "euler": ({}, {"final_sigmas_type": "sigma_min"}, {"sigma_min": 0.05, "sigma_max": 40.0}),
    "euler_ancestral": ({},),
    "heun": ({}, {"clip_sample": True, "clip_sample_range": 1.5}),
    "dpmpp_2m": (
        {},
        {"solver_order": 1},
        {"solver_type": "heun"},
        {"final_sigmas_type": "sigma_min"},
        {"final_sigmas_type": "sigma_min", "euler_at_final": True, "lower_order_final": False},
        {"solver_type": "bh2", "algorithm_type": "deis", "lower_order_final": False, "final_sigmas_type": "sigma_min"},
    ),
    "sde_dpmpp_2m": (
        {"algorithm_type": "sde-dpmsolver++"},
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
        {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "sigma_min"},
    ),
    "dpmpp_3m": (
        {"solver_order": 3},
        {"solver_order": 3, "final_sigmas_type": "sigma_min"},
        {"solver_order": 3, "lower_order_final": False},
    ),
    "unipc": (
        {},
        {"solver_order": 1},
        {"solver_order": 3},
        {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"solver_order": 3, "final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"solver_type": "midpoint", "sigma_min": 0.05, "sigma_max": 40.0},
    ),
    "lms": ({},),
    "pndm": (
        {"skip_prk_steps": True},
        {"skip_prk_steps": True, "set_alpha_to_one": True, "steps_offset": 1},
        {},
        {"set_alpha_to_one": True, "steps_offset": 1},
    ),
    "deis": (
        {},
        {"solver_order": 1},
        {"solver_order": 3},
        {"solver_order": 3, "lower_order_final": False, "solver_type": "bh2"},
    ),
}


def add_run(comparison, group, scheduler, steps, file=None, mu=None, **options):
    """`file`: the scheduler_config.json, if it is not the scheduler's own; `mu`: of flow models' dynamic shifting;
    `options`: further ones of the request's sampler."""
    # As text: diffusers writes -Infinity. And before it writes the shift of a mu into it.
    config = json.dumps(file) if file else scheduler.to_json_string()
    if mu is not None:
        options["flow_shift"] = mu
    comparison.add(
        group,
        f"{describe(config)} N={steps} {options or ''}",
        config,
        {"steps": steps, **options},
        partial(
            their_sample,
            scheduler,
            steps=steps,
            denoiser=DENOISERS[torch.float64],
            set_timesteps={} if mu is None else {"mu": mu},
        ),
    )


def describe(config):
    """What of a file differs from its class's defaults."""
    config = json.loads(config)
    default = json.loads(getattr(diffusers, config["_class_name"])().to_json_string())
    return " ".join(
        f"{key}={value if not isinstance(value, list) else '[…]'}"
        for key, value in config.items()
        if key not in default or value != default[key] or key == "prediction_type"
    )


def switch(sigmas):
    return {} if sigmas == "schedule" else {f"use_{sigmas}_sigmas": True}


@pytest.mark.parametrize("sampler", CLASSES)
def test_solver(sampler, allowed_error, request):
    comparison = Comparison(allowed_error)
    full = request.config.getoption("--full")
    curves = sampler not in ("euler_ancestral", "pndm")
    predictions = ("epsilon", "v_prediction") + (("sample",) if curves else ())
    schedules = [name for name in SCHEDULES if name != "sigmoid"]
    for number, variant in enumerate(VARIANTS[sampler]):
        one_in = 2 if not curves else 6 if number == 0 else 18
        for choice in itertools.product(predictions, schedules, SPACINGS, SIGMAS if curves else ("schedule",), STEPS):
            prediction, schedule, spacing, sigmas, steps = choice
            if not full and not kept((sampler, number, choice), one_in):
                continue
            to_sigma_min = sigmas != "schedule" and "final_sigmas_type" in variant
            if to_sigma_min and sampler in ("dpmpp_3m", "unipc"):
                continue  # 0/0 in diffusers.
            offset = {"steps_offset": 1} if kept((choice, "offset"), 4) else {}
            scheduler = CLASSES[sampler](
                prediction_type=prediction,
                timestep_spacing=spacing,
                **SCHEDULES[schedule],
                **switch(sigmas),
                **{**offset, **variant},
            )
            add_run(comparison, sampler, scheduler, steps)
    comparison.check()


FILES = (
    {"_class_name": "DDPMScheduler"},
    {"_class_name": "DDPMScheduler", "timestep_spacing": "trailing", "clip_sample": False},
    {"_class_name": "DDIMScheduler", "timestep_spacing": "leading", "steps_offset": 1, "clip_sample": True},
    {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, "sigma_min": 0.05},
    {"_class_name": "HeunDiscreteScheduler", "beta_end": 0.02, "beta_start": 1e-4},
    {
        "_class_name": "UniPCMultistepScheduler",
        "solver_type": "bh1",
        "lower_order_final": False,
        "final_sigmas_type": "sigma_min",
    },
    {"_class_name": "DEISMultistepScheduler", "solver_type": "logrho", "solver_order": 3},
)
# What makes a class of several samplers the one.
ARGUMENTS = {
    "dpmpp_2m": {"solver_order": 2},
    "sde_dpmpp_2m": {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
    "dpmpp_3m": {"solver_order": 3},
}


@pytest.mark.parametrize("sampler", CLASSES)
def test_from_any_file(sampler, allowed_error):
    """A file's keys count for every sampler that has them; the rest is the chosen class's default."""
    comparison = Comparison(allowed_error)
    for file in FILES:
        if sampler == "lms" and "sigma_min" in file:
            continue  # LMS alone does not know the bounds of Karras sigmas; here every sampler does.
        # The schedule is the model's, whichever sampler runs it: Heun's own betas are not taken.
        of_file = getattr(diffusers, file["_class_name"])().config
        betas = {key: of_file[key] for key in ("beta_start", "beta_end", "beta_schedule")}
        scheduler = CLASSES[sampler].from_config({**betas, **file}, **ARGUMENTS.get(sampler, {}))
        add_run(comparison, sampler, scheduler, 20, file=file, kind=sampler)
    comparison.check()


def test_refusals():
    """What has no finite or no served meaning is an error that names the key or the field."""
    cases = [
        ({"_class_name": "PNDMScheduler"}, {"steps": 3}, "skip_prk_steps"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"},
            {"steps": 10},
            "algorithm_type",
        ),
        ({"_class_name": "UniPCMultistepScheduler", "lower_order_final": False}, {"steps": 10}, "lower_order_final"),
        ({"_class_name": "DDIMScheduler"}, {"steps": 10, "sigmas": "karras"}, "sampler.sigmas"),
        ({"_class_name": "DEISMultistepScheduler"}, {"steps": 1000}, "sampler.steps"),
    ]
    answers = make_tables([{"config": config, "sampler": s} for config, s, _ in cases])
    for answer, (_, _, message) in zip(answers, cases, strict=True):
        assert message in answer["error"]
