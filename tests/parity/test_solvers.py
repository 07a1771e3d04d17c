"""The tables of the ODE and SDE solvers beside diffusers' own schedulers.

As test_tables.py; here the denoiser is called as pipelines call it, through scale_model_input, and
a noise level is compared that diffusers keeps as x/alpha.

What diffusers itself cannot do right is brought to what it means:
  - A scheduler whose first two times are equal, as whole times of a curve of sigmas can be, skips
    a level unless set_begin_index(0) says where it starts.
  - Euler, Heun and LMS keep x/alpha, which at the top of the cosine schedule is of size 20,000 and
    rounds by 1e-3 in float32: those runs are listed, and allowed, apart. Heun and LMS take the
    difference of such numbers in any formulation, and are compared in float64 there.
  - DEIS computes its coefficients, and epsilon from its own x_0, with cancellation that in float32
    leaves few digits (an error of 0.6 at worst): compared in float64.
  - PNDM's Runge-Kutta steps from the top of the cosine schedule, where alpha is 5e-5, are rounded
    by 3e-4 in float32 there (ours by 3e-7): float64 too.
  - So does UniPC's system of equations for order 3 lose digits (1.1e-4 at worst): float64 too.
  - UniPC and DPM-Solver++ of third order have 0/0 on a last step between equal levels: left out.
  - "sigmoid" and "sample" where a class does not know them: left out, the first being only other
    betas, the second compared through the other classes.
"""

import itertools
import json
import zlib

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


def run_diffusers(scheduler, steps, denoiser, dtype):
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "sigmas"):
        scheduler.set_begin_index(0)
        scheduler.sigmas = scheduler.sigmas.to(dtype)
    elif dtype != torch.float32:
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
        scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
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

    def add(self, scheduler, steps, file=None, **options):
        """`file`: the scheduler_config.json, if it is not the scheduler's own."""
        request = {
            # As text: diffusers writes -Infinity.
            "config": json.dumps(file) if file else scheduler.to_json_string(),
            "sampler": {"steps": steps, **options},
        }
        self.runs.append((request, scheduler, steps))

    def check(self):
        denoisers = {dtype: denoiser_of(dtype) for dtype in (torch.float32, torch.float64)}
        tables = make_tables([request for request, _, _ in self.runs])
        bad = []
        for (request, scheduler, steps), table in zip(self.runs, tables, strict=True):
            assert "error" not in table, (table["error"], request)
            name, allowed, dtype = self.name, self.allowed, torch.float32
            if scheduler.init_noise_sigma > 1000:
                name, allowed = name + " from x/alpha>1000", 1e-3
            if self.name == "unipc" and scheduler.config.solver_order == 3:
                name, dtype = "unipc order 3", torch.float64
            if self.name == "pndm" and starts_high_by_runge_kutta(scheduler.config):
                name, dtype = "pndm, Runge-Kutta, cosine", torch.float64
            if self.name == "deis" or (self.name in ("heun", "lms") and name != self.name):
                allowed, dtype = 1e-4, torch.float64
            ours = run_table(table, denoisers[dtype], generators(), SHAPE, dtype)
            theirs = run_diffusers(scheduler, steps, denoisers[dtype], dtype)
            error = error_between(ours, theirs)
            what = f"{describe(request['config'])} N={steps}"
            self.record_error(name, error, allowed, what)
            if not error <= allowed:
                bad.append(f"{error:.2e} at {what}")
        assert not bad, f"{len(bad)} of {len(self.runs)} runs are off:\n" + "\n".join(bad[:30])


def starts_high_by_runge_kutta(config):
    return not config.skip_prk_steps and config.beta_schedule == "squaredcos_cap_v2"


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


def kept(what, one_in):
    """Whether a run is one of those, one in `one_in`, that are made without --full."""
    return zlib.crc32(str(what).encode()) % one_in == 0


@pytest.mark.parametrize("sampler", CLASSES)
def test_solver(sampler, record_error, request):
    runs = Runs(sampler, record_error)
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
            runs.add(scheduler, steps)
    runs.check()


FILES = (
    {"_class_name": "DDPMScheduler"},
    {"_class_name": "DDPMScheduler", "timestep_spacing": "trailing", "clip_sample": False},
    {"_class_name": "DDIMScheduler", "timestep_spacing": "leading", "steps_offset": 1,
     "clip_sample": True},
    {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, "sigma_min": 0.05},
    {"_class_name": "HeunDiscreteScheduler", "beta_end": 0.02, "beta_start": 1e-4},
    {"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1", "lower_order_final": False,
     "final_sigmas_type": "sigma_min"},
    {"_class_name": "DEISMultistepScheduler", "solver_type": "logrho", "solver_order": 3},
)  # fmt: skip
# What makes a class of several samplers the one.
ARGUMENTS = {
    "dpmpp_2m": {"solver_order": 2},
    "sde_dpmpp_2m": {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
    "dpmpp_3m": {"solver_order": 3},
}


@pytest.mark.parametrize("sampler", CLASSES)
def test_from_any_file(sampler, record_error):
    """A file's keys count for every sampler that has them; the rest is the chosen class's default."""
    runs = Runs(sampler, record_error)
    for file in FILES:
        if sampler == "lms" and "sigma_min" in file:
            continue  # LMS alone does not know the bounds of Karras sigmas; here every sampler does.
        # The schedule is the model's, whichever sampler runs it: Heun's own betas are not taken.
        of_file = getattr(diffusers, file["_class_name"])().config
        betas = {key: of_file[key] for key in ("beta_start", "beta_end", "beta_schedule")}
        scheduler = CLASSES[sampler].from_config({**betas, **file}, **ARGUMENTS.get(sampler, {}))
        runs.add(scheduler, 20, file=file, kind=sampler)
    runs.check()


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
