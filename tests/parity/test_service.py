"""The service itself: every sampler, prediction type and curve of sigmas through the server, in float32 and over gRPC,
beside diffusers' own loops over the same denoiser in float64."""

import itertools
import json
from functools import partial

import pytest
import torch
from comparison import DENOISERS, SEED, SHAPE, Comparison, one_of, their_sample
from test_chains import CLASSES
from test_flow import SOLVERS as FLOW_SOLVERS
from test_flow import Euler as FlowEuler
from test_solvers import ARGUMENTS, SIGMAS, switch
from test_tables import PREDICTIONS, SPACINGS

from harness.api import Outcome, pb
from harness.models import write_model
from harness.server import ONE_ENGINE, Server

STEPS = (7, 20)
# Written out, because classes differ in what they take for a missing key.
SCHEDULES = {
    "linear": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
}
WITHOUT_CURVES = ("ddpm", "ddim", "euler_ancestral", "pndm")
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
FILES = {
    f"{prediction}-{schedule}": {"_class_name": "DDPMScheduler", "prediction_type": prediction, **keys}
    for prediction in PREDICTIONS
    for schedule, keys in SCHEDULES.items()
} | {"flow": FLOW}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server of a model for each of FILES."""
    folder = tmp_path_factory.mktemp("models")
    for name, file in FILES.items():
        write_model(folder / name, DENOISERS[torch.float32], SHAPE[1:])
        (folder / name / "scheduler_config.json").write_text(json.dumps(file))
    server = Server(
        tmp_path_factory.mktemp("server"), "--model-repository", str(folder), "--max-waiting", "10000", *ONE_ENGINE
    )
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def diffusions(full):
    """(model, kind, further options, diffusers' scheduler, steps) of every sampler, prediction type and curve of
    sigmas, with all schedules, spacings and numbers of steps or with one of them."""
    for sampler, prediction in itertools.product(CLASSES, PREDICTIONS):
        if prediction == "sample" and sampler in ("euler_ancestral", "pndm"):
            continue  # Not there in diffusers.
        for sigmas in ("schedule",) if sampler in WITHOUT_CURVES else SIGMAS:
            choices = list(itertools.product(SCHEDULES, SPACINGS, STEPS))
            for schedule, spacing, steps in choices if full else one_of(choices, (sampler, prediction, sigmas)):
                scheduler = CLASSES[sampler](
                    prediction_type=prediction,
                    timestep_spacing=spacing,
                    **SCHEDULES[schedule],
                    **switch(sigmas),
                    **ARGUMENTS.get(sampler, {}),
                )
                options = {"spacing": spacing} | ({} if sigmas == "schedule" else {"sigmas": sigmas})
                yield f"{prediction}-{schedule}", sampler, options, scheduler, steps


def flows(full):
    """The same of the flow model."""
    for stochastic, sigmas in itertools.product((False, True), SIGMAS):
        for steps in STEPS if full else one_of(STEPS, (stochastic, sigmas)):
            scheduler = FlowEuler(shift=FLOW["shift"], stochastic_sampling=stochastic, **switch(sigmas))
            options = {} if sigmas == "schedule" else {"sigmas": sigmas}
            yield "flow", "euler_ancestral" if stochastic else "euler", options, scheduler, steps
    for sampler, (scheduler_class, variants) in FLOW_SOLVERS.items():
        for steps in STEPS if full else one_of(STEPS, sampler):
            scheduler = scheduler_class(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW["shift"], **variants[0]
            )
            yield "flow", sampler, {}, scheduler, steps


def sampler_message(kind, steps, spacing="unspecified", sigmas="unspecified"):
    return pb.Sampler(
        kind=f"KIND_{kind.upper()}",
        steps=steps,
        timestep_spacing=f"TIMESTEP_SPACING_{spacing.upper()}",
        sigmas=f"SIGMAS_{sigmas.upper()}",
    )


def column_of(model):
    """Of docs/parity.md. At the top of the cosine schedule, where x/alpha is of size 20,000, float32 has few digits."""
    if model == "flow":
        return "served, flow"
    return "served, cosine" if model.endswith("squaredcos_cap_v2") else "served"


def samples_of(call, table):
    return torch.from_numpy(Outcome.of(call).samples.copy())


@pytest.mark.parametrize("combinations", [diffusions, flows])
def test_all_at_once(server, combinations, allowed_error, request):
    """Every call is under way before an answer is read, so that batches are mixtures."""
    comparison = Comparison(allowed_error)
    for model, kind, options, scheduler, steps in combinations(request.config.getoption("--full")):
        message = sampler_message(kind, steps, **options)
        call = server.stub.Sample(pb.SampleRequest(model=model, num_samples=SHAPE[0], seed=SEED, sampler=message))
        comparison.add(
            f"{kind}, {column_of(model)}",
            f"{model} {options} N={steps}",
            FILES[model],
            {"kind": kind, "steps": steps, **options},
            partial(their_sample, scheduler, steps=steps, denoiser=DENOISERS[torch.float64]),
            partial(samples_of, call),
            dtype=torch.float32,
        )
    comparison.check()
