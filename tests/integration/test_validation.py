"""Bad requests: each is told the field, the value and what would be right, and costs nothing."""

from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest

from harness.api import pb, sample, tensor
from harness.errors import DOMAIN, failing

X_T = np.random.default_rng(1).standard_normal((1, 1, 28, 28)).astype(np.float32)


def noise(**changes) -> pb.Tensor:
    """A good x_T for one sample, with fields replaced."""
    message = tensor(X_T)
    for name, value in changes.items():
        if name == "shape":
            message.ClearField("shape")
            message.shape.extend(value)
        else:
            setattr(message, name, value)
    return message


def with_value(value: float) -> pb.Tensor:
    values = X_T.copy()
    values[0, 0, 3, 4] = value
    return tensor(values)


@dataclass
class Bad:
    """A request, the field that is to be blamed, and what the message must contain."""

    blamed: str
    says: str
    request: dict = field(default_factory=dict)


def bad(blamed: str, says, **request) -> Bad:
    return Bad(blamed, str(says), request)


BAD = {
    # Numbers of samples and steps.
    "65 samples": bad("num_samples", 65, num_samples=65),
    "2^31 samples": bad("num_samples", 2**31, num_samples=2**31),
    "2^32-1 samples": bad("num_samples", 2**32 - 1, num_samples=2**32 - 1),
    "more steps than trained with": bad("sampler.steps", 1001, sampler=dict(steps=1001)),
    "2^31 steps": bad("sampler.steps", 2**31, sampler=dict(steps=2**31)),
    "2^32-1 steps": bad("sampler.steps", 2**32 - 1, sampler=dict(steps=2**32 - 1)),
    # The sampler.
    "unknown sampler": bad("sampler.kind", 77, sampler=dict(kind=77)),
    "unknown sigmas": bad("sampler.sigmas", 9, sampler=dict(kind="KIND_EULER", sigmas=9)),
    "sigmas for DDIM": bad(
        "sampler.sigmas", "karras", sampler=dict(kind="KIND_DDIM", sigmas="SIGMAS_KARRAS")
    ),
    "negative sampler": bad("sampler.kind", -1, sampler=dict(kind=-1)),
    "unknown spacing": bad("sampler.timestep_spacing", 9, sampler=dict(timestep_spacing=9)),
    "unknown variance": bad(
        "sampler.variance", 12, sampler=dict(kind="KIND_DDPM", variance=12)
    ),
    "learned variance of a model without": bad(
        "sampler.variance", "learned",
        sampler=dict(kind="KIND_DDPM", variance="VARIANCE_LEARNED_RANGE"),
    ),
    "variance for DDIM": bad(
        "sampler.variance", "ddim", sampler=dict(kind="KIND_DDIM", variance="VARIANCE_FIXED_LARGE")
    ),
    "eta 1.5": bad("sampler.eta", 1.5, sampler=dict(kind="KIND_DDIM", eta=1.5)),
    "eta -0.5": bad("sampler.eta", -0.5, sampler=dict(kind="KIND_DDIM", eta=-0.5)),
    "eta NaN": bad("sampler.eta", "nan", sampler=dict(kind="KIND_DDIM", eta=float("nan"))),
    "eta for DDPM": bad("sampler.eta", 0.5, sampler=dict(kind="KIND_DDPM", eta=0.5)),
    "clip range 0": bad("sampler.clip_sample_range", 0, sampler=dict(clip_sample_range=0)),
    "clip range -1": bad("sampler.clip_sample_range", -1, sampler=dict(clip_sample_range=-1)),
    "clip range inf": bad(
        "sampler.clip_sample_range", "inf", sampler=dict(clip_sample_range=float("inf"))
    ),
    "clip range without clipping": bad(
        "sampler.clip_sample_range", 0.5, sampler=dict(clip_sample=False, clip_sample_range=0.5)
    ),
    "clipped model output for DDPM": bad(
        "sampler.use_clipped_model_output", "ddpm",
        sampler=dict(kind="KIND_DDPM", use_clipped_model_output=True),
    ),
    # Guidance.
    "guidance NaN": bad(
        "guidance_scale", "nan", class_labels=[1], guidance_scale=float("nan")
    ),
    "guidance inf": bad("guidance_scale", "inf", class_labels=[1], guidance_scale=float("inf")),
    "guidance 1e38": bad("guidance_scale", "1e+38", class_labels=[1], guidance_scale=1e38),
    "guidance -1001": bad("guidance_scale", -1001, class_labels=[1], guidance_scale=-1001),
    # Labels.
    "label 11": bad("class_labels", 11, class_labels=[11]),
    "label -1": bad("class_labels", -1, class_labels=[-1]),
    "label 2^62": bad("class_labels", 2**62, class_labels=[2**62]),
    "the third of three labels": bad(
        "class_labels", 99, num_samples=3, class_labels=[1, 2, 99]
    ),
    "2 labels for 3 samples": bad("class_labels", 2, num_samples=3, class_labels=[1, 2]),
    "4 labels for 3 samples": bad("class_labels", 4, num_samples=3, class_labels=[1, 2, 3, 4]),
    "100,000 labels": bad("class_labels", 100_000, class_labels=[1] * 100_000),
    # The initial noise.
    "noise too small": bad(
        "initial_noise.shape", "[1, 1, 28, 27]", initial_noise=tensor(X_T[..., :27])
    ),
    "noise for 2 of 1": bad(
        "initial_noise.shape", "[2, 1, 28, 28]",
        initial_noise=tensor(np.concatenate([X_T, X_T])),
    ),
    "noise for 1 of 2": bad(
        "initial_noise.shape", "[1, 1, 28, 28]", num_samples=2, initial_noise=tensor(X_T)
    ),
    "noise without N": bad("initial_noise.shape", "[1, 28, 28]", initial_noise=tensor(X_T[0])),
    "noise without a shape": bad("initial_noise.shape", "[]", initial_noise=noise(shape=[])),
    "an extent of 0": bad(
        "initial_noise.shape", "[1, 0, 28, 28]", initial_noise=noise(shape=[1, 0, 28, 28])
    ),
    "an extent of -1": bad(
        "initial_noise.shape", "[-1, 1, 28, 28]", initial_noise=noise(shape=[-1, 1, 28, 28])
    ),
    "extents whose product overflows": bad(
        "initial_noise.shape", 2**62,
        initial_noise=noise(shape=[2**62, 2**62, 2**62, 2**62]),
    ),
    "extents whose product overflows to the right one": bad(
        "initial_noise.shape", 2**33, initial_noise=noise(shape=[2**33, 2**31, 28, 28])
    ),
    "10,000 extents": bad("initial_noise.shape", "…", initial_noise=noise(shape=[1] * 10_000)),
    "fewer bytes than the shape": bad(
        "initial_noise.data", 3135, initial_noise=noise(data=X_T.tobytes()[:-1])
    ),
    "more bytes than the shape": bad(
        "initial_noise.data", 3140, initial_noise=noise(data=X_T.tobytes() + bytes(4))
    ),
    "no bytes": bad("initial_noise.data", "0 bytes", initial_noise=noise(data=b"")),
    "int64 noise": bad(
        "initial_noise.dtype", "FLOAT32", initial_noise=tensor(np.zeros(X_T.shape, np.int64))
    ),
    "noise without a type": bad("initial_noise.dtype", "FLOAT32", initial_noise=noise(dtype=0)),
    "noise of an unknown type": bad("initial_noise.dtype", 42, initial_noise=noise(dtype=42)),
    "NaN in the noise": bad("initial_noise.data", "nan", initial_noise=with_value(np.nan)),
    "inf in the noise": bad("initial_noise.data", "inf", initial_noise=with_value(np.inf)),
    "-inf in the noise": bad("initial_noise.data", "-inf", initial_noise=with_value(-np.inf)),
    "1e30 in the noise": bad("initial_noise.data", "1e+30", initial_noise=with_value(1e30)),
    # States and encodings.
    "a state past the end": bad("states.steps", 11, states=dict(steps=[3, 11]), sampler=dict(steps=10)),
    "a state at 2^32-1": bad("states.steps", 2**32 - 1, states=dict(steps=[2**32 - 1])),
    "100,000 steps": bad("states.steps", 100_000, states=dict(steps=[1] * 100_000)),
    "unknown content": bad("states.content", 8, states=dict(every_n_steps=1, content=[8])),
    "unspecified content": bad("states.content", 0, states=dict(every_n_steps=1, content=[0])),
    "the same content twice": bad(
        "states.content", "twice", states=dict(every_n_steps=1, content=[1, 1])
    ),
    "content without steps": bad(
        "states.content", "every_n_steps", states=dict(content=["CONTENT_X_T"])
    ),
    "unknown state encoding": bad("states.encoding", 5, states=dict(every_n_steps=1, encoding=5)),
    "an encoding of no states": bad(
        "states.encoding", "every_n_steps", states=dict(encoding="ENCODING_PNG")
    ),
    "an encoding of states without content": bad(
        "states.encoding", "content", states=dict(every_n_steps=1, encoding="ENCODING_PNG")
    ),
    "unknown encoding": bad("encoding", 9, encoding=9),
    # The model's version.
    "version -1": bad("model_version", -1, model_version=-1),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_request(server, case):
    bad = BAD[case]
    before = server.metrics()

    failure = failing(server.stub.Sample, pb.SampleRequest(**bad.request), timeout=20)

    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT, failure
    assert failure.domain == DOMAIN and failure.reason
    [(blamed, description)] = failure.violations.items()
    assert blamed == bad.blamed or blamed.startswith(f"{bad.blamed}["), failure
    assert bad.says.lower() in failure.message.lower(), failure
    assert blamed in failure.message and description, failure
    assert len(failure.message) <= 512
    metrics = server.metrics()
    assert metrics.total("rows_total") == before.total("rows_total"), "nothing was run"
    assert metrics.total("chains_active") == 0


def test_the_server_serves_on_and_has_not_grown(server):
    """All of them again, a few times over; then a good one."""
    requests = [pb.SampleRequest(**b.request) for b in BAD.values()]

    def all_of_them():
        for request in requests:
            failing(server.stub.Sample, request, timeout=20)

    all_of_them()
    before = server.rss_bytes()
    for _ in range(5):
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


def test_unknown_version(server):
    failure = failing(
        server.stub.Sample, pb.SampleRequest(model="digits", model_version=2), timeout=20
    )
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
    ids=lambda good: " ".join(good),
)
def test_what_lies_on_the_edge_is_served(stub, good):
    """Negative control: the limits are where they are said to be."""
    assert np.all(np.isfinite(sample(stub, **good).samples))
