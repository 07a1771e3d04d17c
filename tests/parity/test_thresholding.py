"""Dynamic thresholding beside the schedulers of diffusers that have it."""

import itertools

import diffusers
import pytest
from comparison import Comparison, kept
from tables import make_tables
from test_solvers import add_run
from test_tables import SCHEDULES, STEPS

CLASSES = {
    "ddpm": (diffusers.DDPMScheduler, {}),
    "ddim": (diffusers.DDIMScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "sde_dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_3m": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 3}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "deis": (diffusers.DEISMultistepScheduler, {}),
}
PARAMETERS = (
    {},
    {"sample_max_value": 1.5},
    {"dynamic_thresholding_ratio": 0.8, "sample_max_value": 100.0},
    {"dynamic_thresholding_ratio": 1.0, "sample_max_value": 2.0},
)


@pytest.mark.parametrize("sampler", CLASSES)
def test_sampler(sampler, allowed_error, request):
    full = request.config.getoption("--full")
    comparison = Comparison(allowed_error)
    scheduler_class, arguments = CLASSES[sampler]
    schedules = ("linear", "scaled_linear", "squaredcos_cap_v2")
    predictions = ("epsilon", "v_prediction", "sample")
    for choice in itertools.product(predictions, schedules, range(len(PARAMETERS)), STEPS):
        prediction, schedule, number, steps = choice
        if not full and not kept((sampler, choice), 6):
            continue
        scheduler = scheduler_class(
            prediction_type=prediction, thresholding=True, **PARAMETERS[number], **SCHEDULES[schedule], **arguments
        )
        add_run(comparison, f"{sampler}, thresholded", scheduler, steps)
    comparison.check()


@pytest.mark.parametrize("sampler", CLASSES)
def test_a_request_overrides_the_file(sampler):
    """The same table, whether the file says it or the request."""
    scheduler_class, arguments = CLASSES[sampler]
    on, off = scheduler_class(thresholding=True, **arguments), scheduler_class(**arguments)
    requests = [
        {"config": s.to_json_string(), "sampler": {"steps": 10, **options}}
        for s, options in ((on, {}), (off, {"thresholding": True}), (off, {}), (on, {"thresholding": False}))
    ]
    by_file, by_request, without, switched_off = make_tables(requests)
    assert by_file == by_request
    assert without == switched_off
    assert all(row["threshold"] and not row["clip"] for row in by_file["rows"])
    assert not any(row["threshold"] for row in without["rows"])
