"""Flow models' tables beside diffusers' own schedulers.

UniPC and DPM-Solver++ of order 3 have 0/0 on a last step between equal levels: left out.
"""

import itertools

import diffusers
import numpy as np
import pytest
from comparison import Comparison, kept
from tables import make_tables
from test_solvers import add_run
from test_tables import STEPS

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


def shifts_of_euler():
    """(keys of the file, mu)"""
    for shift in (0.5, 1.0, 3.0, 6.3):
        yield {"shift": shift}, None
    for kind, mu in itertools.product(("exponential", "linear"), (0.5, 1.15, 3.0)):
        yield {"use_dynamic_shifting": True, "time_shift_type": kind, "shift": 3.0}, mu


@pytest.mark.parametrize("stochastic", [False, True])
def test_euler(stochastic, allowed_error, request):
    full = request.config.getoption("--full")
    group = "flow euler_ancestral" if stochastic else "flow euler"
    comparison = Comparison(allowed_error)
    for choice in itertools.product(
        shifts_of_euler(), (None, "karras", "exponential", "beta"), (None, 0.02, 0.3), (1000, 250), (1, 2, *STEPS)
    ):
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
        add_run(comparison, group, scheduler, steps, mu=mu)
    comparison.check()


@pytest.mark.parametrize("sampler", SOLVERS)
def test_solver(sampler, allowed_error, request):
    full = request.config.getoption("--full")
    comparison = Comparison(allowed_error)
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
        add_run(comparison, f"flow {sampler}", scheduler, steps, mu=mu)
    comparison.check()


def test_any_sampler_from_either_kind_of_file(allowed_error):
    """A flow model is one whichever class its file names, and keeps its shift."""
    euler_file = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    solver_file = {
        "_class_name": "UniPCMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    }
    keys = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    comparison = Comparison(allowed_error)
    for file in (euler_file, solver_file):
        # The file's shift, and the request's in place of it.
        for shift, options in ((3.0, {}), (1.7, {"flow_shift": 1.7})):
            for stochastic, name in ((False, "euler"), (True, "euler_ancestral")):
                scheduler = Euler(shift=shift, stochastic_sampling=stochastic)
                add_run(comparison, f"flow {name}", scheduler, 20, file, kind=name, **options)
            for name, (scheduler_class, variants) in SOLVERS.items():
                scheduler = scheduler_class(flow_shift=shift, **keys, **variants[0])
                add_run(comparison, f"flow {name}", scheduler, 20, file, kind=name, **options)
    comparison.check()


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0, 5.0, 12.0])
@pytest.mark.parametrize(
    "scheduler_class",
    [diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler, diffusers.DEISMultistepScheduler, Euler],
)
def test_grids(scheduler_class, shift):
    """Every N up to T = 250: the times, of which whole ones are cut, and the levels."""
    if scheduler_class is Euler:
        scheduler = Euler(num_train_timesteps=250, shift=shift)
    else:
        scheduler = scheduler_class(
            num_train_timesteps=250, flow_shift=shift, use_flow_sigmas=True, prediction_type="flow_prediction"
        )
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
