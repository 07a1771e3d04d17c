"""Flow models' tables beside diffusers' own schedulers.

What diffusers itself cannot do right is brought to what it means:
  - DEIS, and UniPC of order 3, lose digits in float32 as in test_solvers.py: compared in float64.
  - UniPC and DPM-Solver++ of order 3 have 0/0 on a last step between equal levels: left out.
"""

import itertools
import json

import diffusers
import numpy as np
import pytest
import torch
from tables import draw, make_tables, run_table
from test_solvers import denoiser_of, describe, kept
from test_tables import SHAPE, STEPS, error_between, generators

Euler = diffusers.FlowMatchEulerDiscreteScheduler
SOLVERS = {
    "dpmpp_2m": (
        diffusers.DPMSolverMultistepScheduler,
        (
            {},
            {"solver_order": 1},
            {"solver_type": "heun", "lower_order_final": False},
            {"euler_at_final": True, "thresholding": True, "sample_max_value": 1.5},
        ),
    ),
    "sde_dpmpp_2m": (
        diffusers.DPMSolverMultistepScheduler,
        ({"algorithm_type": "sde-dpmsolver++"}, {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}),
    ),
    "dpmpp_3m": (
        diffusers.DPMSolverMultistepScheduler,
        ({"solver_order": 3}, {"solver_order": 3, "lower_order_final": False}),
    ),
    "unipc": (
        diffusers.UniPCMultistepScheduler,
        (
            {},
            {"solver_order": 1},
            {"solver_order": 3},
            {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
            {"shift_terminal": 0.1, "thresholding": True},
        ),
    ),
    "deis": (
        diffusers.DEISMultistepScheduler,
        ({}, {"solver_order": 1}, {"solver_order": 3, "lower_order_final": False}),
    ),
}


def run_diffusers(scheduler, steps, denoiser, dtype, **arguments):
    """The final sample of diffusers' own loop; `arguments` of set_timesteps."""
    scheduler.set_timesteps(steps, **arguments)
    scheduler.set_begin_index(0)
    scheduler.sigmas = scheduler.sigmas.to(dtype)
    streams = generators()
    x = draw(streams, SHAPE).to(dtype)
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    options = {"generator": streams} if takes_generator else {}
    for t in scheduler.timesteps:
        x = scheduler.step(denoiser(x, t), t, x, **options).prev_sample
    return x


class FlowRuns:
    """Collects runs of one sampler and compares them all."""

    def __init__(self, sampler, record_error):
        self.name = f"flow {sampler}"
        self.allowed = 1e-3 if sampler in ("euler_ancestral", "sde_dpmpp_2m") else 1e-4
        self.record_error = record_error
        self.runs = []

    def add(self, scheduler, steps, file=None, dtype=torch.float32, mu=None, **options):
        """`file`: the scheduler_config.json, if it is not the scheduler's own."""
        # Before diffusers writes the shift of a mu into it.
        config = json.dumps(file) if file else scheduler.to_json_string()
        if mu is not None:
            options["flow_shift"] = mu
        request = {"config": config, "sampler": {"steps": steps, **options}}
        self.runs.append((request, scheduler, steps, dtype, {} if mu is None else {"mu": mu}))

    def check(self):
        denoisers = {dtype: denoiser_of(dtype) for dtype in (torch.float32, torch.float64)}
        tables = make_tables([run[0] for run in self.runs])
        bad = []
        for (request, scheduler, steps, dtype, arguments), table in zip(self.runs, tables, strict=True):
            assert "error" not in table, (table["error"], request)
            denoiser = denoisers[dtype]
            ours = run_table(table, denoiser, generators(), SHAPE, dtype)
            error = error_between(ours, run_diffusers(scheduler, steps, denoiser, dtype, **arguments))
            name = self.name if dtype == torch.float32 else f"{self.name} float64"
            what = f"{describe(request['config'])} {request['sampler']}"
            self.record_error(name, error, self.allowed, what)
            if not error <= self.allowed:
                bad.append(f"{error:.2e} at {what}")
        assert not bad, f"{len(bad)} of {len(self.runs)} runs are off:\n" + "\n".join(bad[:30])


def shifts_of_euler():
    """(keys of the file, mu)"""
    for shift in (0.5, 1.0, 3.0, 6.3):
        yield {"shift": shift}, None
    for kind, mu in itertools.product(("exponential", "linear"), (0.5, 1.15, 3.0)):
        yield {"use_dynamic_shifting": True, "time_shift_type": kind, "shift": 3.0}, mu


@pytest.mark.parametrize("stochastic", [False, True])
def test_euler(stochastic, record_error, request):
    full = request.config.getoption("--full")
    runs = FlowRuns("euler_ancestral" if stochastic else "euler", record_error)
    for choice in itertools.product(
        shifts_of_euler(), (None, "karras", "exponential", "beta"), (None, 0.02, 0.3), (1000, 250),
        (1, 2, *STEPS),
    ):  # fmt: skip
        (keys, mu), curve, terminal, train_steps, steps = choice
        if terminal is not None and steps == 1:
            continue  # 0/0 in diffusers.
        if not full and not kept((choice, stochastic), 12):
            continue
        scheduler = Euler(
            num_train_timesteps=train_steps,
            shift_terminal=terminal,
            stochastic_sampling=stochastic,
            **({f"use_{curve}_sigmas": True} if curve else {}),
            **keys,
        )
        runs.add(scheduler, steps, mu=mu)
    runs.check()


@pytest.mark.parametrize("sampler", SOLVERS)
def test_solver(sampler, record_error, request):
    full = request.config.getoption("--full")
    runs = FlowRuns(sampler, record_error)
    scheduler_class, variants = SOLVERS[sampler]
    for choice in itertools.product(
        range(len(variants)), (0.5, 1.0, 3.0, 7.0), (None, 0.5, 1.15), (1000, 250), (2, *STEPS)
    ):
        number, shift, mu, train_steps, steps = choice
        if mu is not None and shift != 1.0:
            continue  # Then the shift counts for nothing.
        if not full and not kept((sampler, choice), 4):
            continue
        variant = variants[number]
        scheduler = scheduler_class(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=shift,
            num_train_timesteps=train_steps,
            use_dynamic_shifting=mu is not None,
            **variant,
        )
        inexact = sampler == "deis" or (sampler == "unipc" and variant.get("solver_order") == 3)
        runs.add(scheduler, steps, dtype=torch.float64 if inexact else torch.float32, mu=mu)
    runs.check()


def test_any_sampler_from_either_kind_of_file(record_error):
    """A flow model is one whichever class its file names, and keeps its shift."""
    euler_file = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    solver_file = {
        "_class_name": "UniPCMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    }
    keys = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    for file in (euler_file, solver_file):
        for stochastic, name in ((False, "euler"), (True, "euler_ancestral")):
            runs = FlowRuns(name, record_error)
            runs.add(Euler(shift=3.0, stochastic_sampling=stochastic), 20, file, kind=name)
            # The request's shift in place of the file's.
            scheduler = Euler(shift=1.7, stochastic_sampling=stochastic)
            runs.add(scheduler, 20, file, kind=name, flow_shift=1.7)
            runs.check()
        for name, (scheduler_class, variants) in SOLVERS.items():
            runs = FlowRuns(name, record_error)
            dtype = torch.float64 if name == "deis" else torch.float32
            for shift, options in ((3.0, {}), (1.7, {"flow_shift": 1.7})):
                scheduler = scheduler_class(flow_shift=shift, **keys, **variants[0])
                runs.add(scheduler, 20, file, dtype, kind=name, **options)
            runs.check()


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0, 5.0, 12.0])
@pytest.mark.parametrize("scheduler_class", [
    diffusers.DPMSolverMultistepScheduler,
    diffusers.UniPCMultistepScheduler,
    diffusers.DEISMultistepScheduler,
    Euler,
])  # fmt: skip
def test_grids(scheduler_class, shift):
    """Every N up to T = 250: the times, of which whole ones are cut, and the levels."""
    if scheduler_class is Euler:
        scheduler = Euler(num_train_timesteps=250, shift=shift)
    else:
        scheduler = scheduler_class(
            num_train_timesteps=250, flow_shift=shift, use_flow_sigmas=True,
            prediction_type="flow_prediction",
        )  # fmt: skip
    config = scheduler.to_json_string()
    counts = range(1, 251)
    tables = make_tables([{"config": config, "sampler": {"steps": n}} for n in counts])
    for steps, table in zip(counts, tables, strict=True):
        scheduler.set_timesteps(steps)
        times = [row["timestep"] for row in table["rows"]]
        levels = [table["initial_sigma"], *(row["state_sigma"] for row in table["rows"])]
        if scheduler_class is Euler:
            np.testing.assert_allclose(times, scheduler.timesteps.numpy(), rtol=2e-7)
        else:
            assert times == scheduler.timesteps.tolist(), steps
        np.testing.assert_allclose(levels, scheduler.sigmas.numpy(), rtol=2e-7, atol=0)


def test_refusals():
    """What has no finite or no served meaning is an error that names the key or the field."""
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    unipc = {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}
    ddim = {"_class_name": "DDIMScheduler"}
    solver = {**unipc, "prediction_type": "flow_prediction"}
    cases = [
        ({**flow, "invert_sigmas": True}, {"steps": 10}, "invert_sigmas"),
        ({**flow, "prediction_type": "epsilon"}, {"steps": 10}, "prediction_type"),
        (unipc, {"steps": 10}, "use_flow_sigmas"),
        ({**solver, "use_flow_sigmas": False}, {"steps": 10}, "needs use_flow_sigmas"),
        ({**solver, "use_karras_sigmas": True}, {"steps": 10}, "use_flow_sigmas"),
        ({**ddim, "use_flow_sigmas": True}, {"steps": 10}, "use_flow_sigmas"),
        ({**flow, "use_dynamic_shifting": True}, {"steps": 10}, "sampler.flow_shift"),
        ({**flow, "shift_terminal": 0.1}, {"steps": 1}, "sampler.steps"),
        (flow, {"steps": 10, "kind": "ddpm"}, "sampler.kind"),
        (flow, {"steps": 10, "spacing": "trailing"}, "sampler.timestep_spacing"),
        (flow, {"steps": 10, "kind": "unipc", "sigmas": "karras"}, "sampler.sigmas"),
        (ddim, {"steps": 10, "flow_shift": 3}, "sampler.flow_shift"),
    ]
    answers = make_tables([{"config": config, "sampler": s} for config, s, _ in cases])
    for answer, (_, _, message) in zip(answers, cases, strict=True):
        assert message in answer["error"]
