"""The tables of the ODE and SDE solvers beside diffusers' own schedulers.

As test_tables.py; here the denoiser is called as pipelines call it, through scale_model_input, and
a noise level is compared that diffusers keeps as x/alpha.

What diffusers itself cannot do right is brought to what it means:
  - A scheduler whose first two times are equal, as whole times of a curve of sigmas can be, skips
    a level unless set_begin_index(0) says where it starts.
  - Euler, Heun and LMS keep x/alpha, which at the top of the cosine schedule is of size 20,000 and
    rounds by 1e-3 in float32: those runs are listed, and allowed, apart. Heun's corrector takes the
    difference of two such numbers in any formulation, and is compared in float64 there.
  - UniPC and DPM-Solver++ of third order have 0/0 on a last step between equal levels: left out.
  - "sigmoid" and "sample" where a class does not know them: left out, the first being only other
    betas, the second compared through the other classes.
"""

import itertools
import json

import diffusers
import pytest
import torch

from tables import draw, make_tables, run_table
from test_tables import SCHEDULES, SHAPE, SPACINGS, STEPS, Denoiser, error_between, generators

STOCHASTIC = ("euler_ancestral", "sde_dpmpp_2m")
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
        {
            "solver_type": "bh2",
            "algorithm_type": "deis",
            "lower_order_final": False,
            "final_sigmas_type": "sigma_min",
        },
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
    ),
    "deis": (
        {},
        {"solver_order": 1},
        {"solver_order": 3},
        {"solver_order": 3, "lower_order_final": False, "solver_type": "bh2"},
    ),
}


def run_diffusers(scheduler, steps, denoiser, dtype):
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "sigmas"):
        scheduler.set_begin_index(0)
        scheduler.sigmas = scheduler.sigmas.to(dtype)
    streams = generators()
    x = draw(streams, SHAPE).to(dtype) * scheduler.init_noise_sigma
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    arguments = {"generator": streams} if takes_generator else {}
    for t in scheduler.timesteps:
        out = denoiser(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out, t, x, **arguments).prev_sample
    return x


def denoiser_of(dtype):
    denoiser = Denoiser()
    for name, value in vars(denoiser).items():
        if isinstance(value, torch.Tensor):
            setattr(denoiser, name, value.to(dtype))
    return denoiser


class Runs:
    """Collects runs of one sampler and compares them all."""

    def __init__(self, sampler, record_error):
        self.name = sampler
        self.allowed = 1e-3 if sampler in STOCHASTIC else 1e-4
        self.record_error = record_error
        self.runs = []

    def add(self, scheduler, steps, **options):
        request = {
            # The text as diffusers writes it, with its -Infinity.
            "config": json.dumps(dict(json.loads(scheduler.to_json_string()))),
            "sampler": {"steps": steps, **options},
        }
        self.runs.append((request, scheduler, steps))

    def check(self):
        denoisers = {dtype: denoiser_of(dtype) for dtype in (torch.float32, torch.float64)}
        tables = make_tables([request for request, _, _ in self.runs])
        bad = []
        for (request, scheduler, steps), table in zip(self.runs, tables):
            assert "error" not in table, (table["error"], request)
            name, allowed, dtype = self.name, self.allowed, torch.float32
            if scheduler.init_noise_sigma > 1000:
                name, allowed = name + " from x/alpha>1000", 1e-3
                if self.name == "heun":
                    allowed, dtype = 1e-4, torch.float64
            ours = run_table(table, denoisers[dtype], generators(), SHAPE, dtype)
            theirs = run_diffusers(scheduler, steps, denoisers[dtype], dtype)
            error = error_between(ours, theirs)
            what = f"{describe(request['config'])} N={steps}"
            self.record_error(name, error, allowed, what)
            if not error <= allowed:
                bad.append(f"{error:.2e} at {what}")
        assert not bad, f"{len(bad)} of {len(self.runs)} runs are off:\n" + "\n".join(bad[:30])


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
def test_solver(sampler, record_error):
    runs = Runs(sampler, record_error)
    kinds = SIGMAS if sampler not in ("euler_ancestral", "pndm") else ("schedule",)
    predictions = ["epsilon", "v_prediction"]
    if sampler not in ("euler_ancestral", "pndm"):
        predictions.append("sample")
    schedules = [name for name in SCHEDULES if name != "sigmoid"]
    grid = itertools.product(VARIANTS[sampler], predictions, schedules, SPACINGS, kinds, STEPS)
    for number, (variant, prediction, schedule, spacing, sigmas, steps) in enumerate(grid):
        # Every pair of values of two options is there; of the curves every third run is kept.
        if sigmas != "schedule" and (number // 3 + steps) % 3:
            continue
        if variant is not VARIANTS[sampler][0] and steps != 30 and schedule != "linear":
            continue
        curve_to_sigma_min = sigmas != "schedule" and "final_sigmas_type" in variant
        if sampler in ("dpmpp_3m", "unipc") and curve_to_sigma_min:
            continue
        scheduler = CLASSES[sampler](
            prediction_type=prediction,
            timestep_spacing=spacing,
            **SCHEDULES[schedule],
            **switch(sigmas),
            **variant,
        )
        runs.add(scheduler, steps)
    runs.check()
