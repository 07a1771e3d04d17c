"""A denoiser that fails: only the request at fault ends, with the reason."""

import grpc
import numpy as np
import pytest

from harness.api import CALL_TIMEOUT, Outcome, pb, sample, tensor
from harness.errors import DOMAIN, failing
from harness.models import SickDenoiser, write_model

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module", params=["nan", "exception"])
def sick_server(request, start_shared_server, tmp_path_factory):
    folder = write_model(tmp_path_factory.mktemp("models") / "sick", SickDenoiser(raises=request.param == "exception"))
    return start_shared_server(model=folder)


def noise(n: int, sick: int | None) -> np.ndarray:
    values = np.random.default_rng(7).standard_normal((n, *SHAPE)).astype(np.float32)
    if sick is not None:
        values[sick, 0, 0, 0] = 500
    return values


def test_the_guilty_request_alone_fails(sick_server, report):
    stub = sick_server.stub
    good = dict(seed=3, num_samples=2, sampler=dict(kind="KIND_DDPM", steps=200))
    before = sick_server.metrics()
    expected = sample(stub, **good).samples
    beside = [stub.Sample(pb.SampleRequest(**good), timeout=CALL_TIMEOUT) for _ in range(4)]

    failure = failing(
        stub.Sample,
        pb.SampleRequest(num_samples=3, initial_noise=tensor(noise(3, sick=1)), sampler=dict(steps=200)),
        timeout=CALL_TIMEOUT,
    )

    assert failure.code == grpc.StatusCode.INTERNAL, failure
    assert failure.domain == DOMAIN
    assert "sample 1" in failure.message or "sample_index 1" in failure.message, failure
    assert "/" not in failure.message and "0x" not in failure.message, "no paths, no addresses"
    for stream in beside:
        assert np.max(np.abs(Outcome.of(stream).samples - expected)) <= 1e-4
    sick_server.until_counted(5, before, code="OK")
    metrics = sick_server.until_counted(1, before, code="INTERNAL")
    assert metrics.total("chains_failed_total") > before.total("chains_failed_total")


def test_healthy_noise_is_no_failure(sick_server):
    """Negative control."""
    got = sample(sick_server.stub, num_samples=3, initial_noise=tensor(noise(3, sick=None)), sampler=dict(steps=200))
    assert np.all(np.isfinite(got.samples))
