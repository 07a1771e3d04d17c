"""Flow-matching models, as diffusers samples them."""

import functools
import json

import diffusers
import grpc
import numpy as np
import pytest
import torch

from harness.api import diffuse, pb, sample, tensor
from harness.errors import failing
from harness.models import write_model
from harness.reference import draw, error_of, generators

SHAPE = (2, 6, 6)
CONFIG = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}


class GaussianVelocity(torch.nn.Module):
    """E[ε - x_0 | x_t] for data N(0, ¼), with a twist that makes the field nonlinear."""

    def forward(self, x, t):
        s = (t.float() / 1000).view(-1, 1, 1, 1)
        variance = (1 - s) ** 2 * 0.25 + s**2
        return (s - (1 - s) * 0.25) / variance * x + 0.3 * torch.sin(3 * x)


@pytest.fixture(scope="module")
def flow(start_shared_server, tmp_path_factory):
    """flow(**config): a server with that scheduler_config.json, the same for all who ask for the same."""

    @functools.cache
    def start(**config):
        folder = write_model(tmp_path_factory.mktemp("models") / "flow", GaussianVelocity(), SHAPE)
        (folder / "scheduler_config.json").write_text(json.dumps(CONFIG | config))
        return start_shared_server(model=folder)

    return start


@torch.inference_mode()
def expected(scheduler, steps, seed, n, **set_timesteps):
    scheduler.set_timesteps(steps, **set_timesteps)
    streams = generators(seed, n)
    model = GaussianVelocity()
    x = draw(streams, SHAPE)
    options = {"generator": streams} if scheduler.config.get("stochastic_sampling") else {}
    for t in scheduler.timesteps:
        out = model(x, torch.full((n,), float(t)))
        if options:
            # Its randn_like takes no list of generators: the step by hand.
            i = scheduler.step_index or 0
            scheduler._step_index = i + 1
            sigma, following = scheduler.sigmas[i], scheduler.sigmas[i + 1]
            x = (1 - following) * (x - sigma * out) + following * draw(streams, SHAPE)
        else:
            x = scheduler.step(out, t, x).prev_sample
    return x.numpy()


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_euler(flow, report, steps):
    stub = flow().stub
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    got = sample(stub, seed=8, num_samples=2, sampler=dict(steps=steps)).samples
    error = error_of(got, expected(scheduler, steps, 8, 2))
    report(f"flow, Euler, {steps} steps", f"{error:.2g}")
    assert error <= 1e-4


def test_shift_of_a_request_and_dynamic_shifting(flow):
    stub = flow(use_dynamic_shifting=True, shift=1.0).stub
    got = sample(stub, seed=8, sampler=dict(steps=10, flow_shift=0.9)).samples
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert error_of(got, expected(scheduler, 10, 8, 1, mu=0.9)) <= 1e-4
    failure = failing(stub.Sample, pb.SampleRequest(), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "sampler.flow_shift" in failure.violations


def test_what_means_nothing_here_is_refused(flow):
    stub = flow().stub
    for kind in ("KIND_DDPM", "KIND_DDIM", "KIND_PNDM"):
        failure = failing(stub.Sample, pb.SampleRequest(sampler=pb.Sampler(kind=kind, steps=5)), timeout=10)
        assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
        assert any(f.startswith("sampler") for f in failure.violations), failure
    x_0 = tensor(np.zeros((1, *SHAPE)))
    failure = failing(stub.Evaluate, pb.EvaluateRequest(x_0=x_0), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    failure = failing(stub.Diffuse, pb.DiffuseRequest(x_0=x_0, timesteps=[5], chain=True), timeout=10)
    assert "chain" in failure.violations, failure


def test_states_are_what_the_forward_process_makes(flow):
    stub = flow().stub
    x_0 = np.full((64, *SHAPE), 0.5, np.float32)
    got = diffuse(stub, x_0=tensor(x_0), seed=2, timesteps=[0, 499, 999])
    for state in got.states[:3]:
        sigma = (state.timestep + 1) / 1000
        assert state.sigma == pytest.approx(sigma)
        assert state.alpha_bar == pytest.approx((1 - sigma) ** 2, abs=1e-6)
    from harness.api import array

    middle = np.concatenate([array(s.tensor) for s in got.states if s.timestep == 499])
    assert np.mean(middle) == pytest.approx(0.25, abs=0.03)
    assert np.std(middle) == pytest.approx(0.5, rel=0.03)
