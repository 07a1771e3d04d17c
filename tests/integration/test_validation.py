"""Bad requests over the wire: each is told the field, the value and what would be right, and costs nothing. Every field
has its unit test (tests/unit/rpc/messages); here is one of each kind."""

import grpc
import numpy as np
import pytest

from harness.api import pb, sample, tensor
from harness.errors import DOMAIN, failing

X_T = np.random.default_rng(1).standard_normal((1, 1, 28, 28)).astype(np.float32)


def noise(shape) -> pb.Tensor:
    """A good x_T for one sample, but for its shape."""
    return pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=shape, data=X_T.tobytes())


# The field that is to be blamed, and what the message must contain, of each request.
BAD = {
    "2^32-1 samples": ("num_samples", 2**32 - 1, dict(num_samples=2**32 - 1)),
    "more steps than trained with": ("sampler.steps", 1001, dict(sampler=dict(steps=1001))),
    "negative sampler": ("sampler.kind", -1, dict(sampler=dict(kind=-1))),
    "guidance NaN": ("guidance_scale", "nan", dict(class_labels=[1], guidance_scale=float("nan"))),
    "100,000 labels": ("class_labels", 100_000, dict(class_labels=[1] * 100_000)),
    "NaN in the noise": ("initial_noise.data", "nan", dict(initial_noise=tensor(np.full_like(X_T, np.nan)))),
    "extents whose product overflows to the right one": (
        "initial_noise.shape",
        2**33,
        dict(initial_noise=noise([2**33, 2**31, 28, 28])),
    ),
    "10,000 extents": ("initial_noise.shape", "…", dict(initial_noise=noise([1] * 10_000))),
    "no strength": ("image_to_image.strength", 0, dict(image_to_image=dict(image=tensor(np.zeros(X_T.shape))))),
    "no mask": ("inpainting.mask", "missing", dict(inpainting=dict(image=tensor(np.zeros(X_T.shape))))),
    "an unknown condition": ("conditions", "text", dict(conditions={"text": pb.Tensor()})),
    "100,000 steps": ("states.steps", 100_000, dict(states=dict(steps=[1] * 100_000))),
    "unknown encoding": ("encoding", 9, dict(encoding=9)),
    "version -1": ("model_version", -1, dict(model_version=-1)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_request(server, case):
    field, says, request = BAD[case]
    before = server.metrics()

    failure = failing(server.stub.Sample, pb.SampleRequest(**request), timeout=20)

    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT, failure
    assert failure.domain == DOMAIN and failure.reason
    [(blamed, description)] = failure.violations.items()
    assert blamed == field or blamed.startswith(f"{field}["), failure
    assert str(says) in failure.message.lower(), failure
    assert blamed in failure.message and description, failure
    assert len(failure.message) <= 512
    metrics = server.metrics()
    assert metrics.total("rows_total") == before.total("rows_total"), "nothing was run"
    assert metrics.total("chains_active") == 0


def test_the_server_serves_on_and_has_not_grown(server):
    """All of them again, a few times over; then a good one."""
    requests = [pb.SampleRequest(**request) for _, _, request in BAD.values()]

    def all_of_them():
        for request in requests:
            failing(server.stub.Sample, request, timeout=20)

    all_of_them()
    before = server.rss_bytes()
    for _ in range(20):
        all_of_them()
    assert server.rss_bytes() - before < 16 << 20
    assert sample(server.stub, seed=1, sampler=dict(steps=2)).result


UNKNOWN = {
    "another name": "cats",
    "another case": "Digits",
    "a prefix": "digit",
    "above the root": "../digits",
    "an absolute path": "/etc/passwd",
    "a space": "digits ",
    "NUL": "digits\0",
    "a newline": "digits\nx",
    "very long": "d" * 100_000,
    "not ASCII": "数字",
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("method", ["Sample", "Diffuse", "GetModel"])
def test_unknown_model(server, method, case):
    request = {"Sample": pb.SampleRequest, "Diffuse": pb.DiffuseRequest, "GetModel": pb.GetModelRequest}
    call = getattr(server.stub, method)
    failure = failing(call, request[method](model=UNKNOWN[case]), timeout=20)
    assert failure.code == grpc.StatusCode.NOT_FOUND, failure
    assert failure.domain == DOMAIN
    assert failure.reason == "MODEL_NOT_FOUND"
    assert "digits" in failure.message, "says what there is"
    assert len(failure.message) <= 512 and "\n" not in failure.message and "\0" not in failure.message


GOOD_DIFFUSE = dict(x_0=tensor(np.zeros(X_T.shape)), timesteps=[5])
GOOD_EVALUATE = dict(x_0=tensor(np.zeros(X_T.shape)), class_labels=[3], num_timesteps=2)


@pytest.mark.parametrize(
    ("method", "good", "change", "field"),
    [
        ("Diffuse", GOOD_DIFFUSE, dict(timesteps=[2**32 - 1]), "timesteps"),
        ("Diffuse", GOOD_DIFFUSE, dict(x_0=tensor(np.full(X_T.shape, np.nan))), "x_0.data"),
        ("Evaluate", GOOD_EVALUATE, dict(num_timesteps=1), "num_timesteps"),
        ("Evaluate", GOOD_EVALUATE, dict(x_0=None), "x_0"),
    ],
)
def test_bad_requests_of_the_other_methods(stub, method, good, change, field):
    message = {"Diffuse": pb.DiffuseRequest, "Evaluate": pb.EvaluateRequest}[method]
    failure = failing(getattr(stub, method), message(**good | change), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT, failure
    assert field in failure.violations, failure
    assert len(list(getattr(stub, method)(message(**good), timeout=10))) > 1


def test_unknown_version(server):
    failure = failing(server.stub.Sample, pb.SampleRequest(model="digits", model_version=2), timeout=20)
    assert failure.code == grpc.StatusCode.NOT_FOUND
    assert "2" in failure.message and "1" in failure.message


@pytest.mark.parametrize(
    "good",
    [
        dict(num_samples=64, sampler=dict(steps=1)),
        dict(sampler=dict(steps=1000, kind="KIND_DDIM"), guidance_scale=1),
        dict(class_labels=[10], sampler=dict(steps=2)),
        dict(class_labels=[9], sampler=dict(steps=2)),
        dict(class_labels=[1], guidance_scale=-3, sampler=dict(steps=2)),
        dict(sampler=dict(kind="KIND_DDIM", eta=1, steps=2)),
        dict(seed=2**64 - 1, num_samples=2, sampler=dict(steps=2)),
        dict(states=dict(steps=[0, 2], every_n_steps=2**32 - 1), sampler=dict(steps=2)),
        dict(model="digits", model_version=1, sampler=dict(steps=1)),
        dict(initial_noise=tensor(X_T), sampler=dict(steps=2)),
    ],
    ids=" ".join,
)
def test_what_lies_on_the_edge_is_served(stub, good):
    """Negative control: the limits are where they are said to be."""
    assert np.all(np.isfinite(sample(stub, **good).samples))
