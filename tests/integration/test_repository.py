"""--model-repository: several models, each with its own rows in its own batches."""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from harness.api import pb, sample, tensor
from harness.errors import failing
from harness.models import GaussianDenoiser, copy_model, write_model
from harness.paths import DIGITS
from harness.reference import Reference, error_of


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """DIGITS under two names, one of them in two versions, and a small one without classes."""
    root = tmp_path_factory.mktemp("repository")
    copy_model(DIGITS, root / "digits")
    copy_model(DIGITS, root / "numbers" / "1", name=None)
    copy_model(DIGITS, root / "numbers" / "3", name=None, default_steps=5)
    write_model(root / "gauss" / "1", GaussianDenoiser(0.5), shape=(3, 8, 8))
    (root / ".hidden").mkdir()
    (root / "notes.txt").write_text("not a model")
    return root


@pytest.fixture(scope="module")
def many(repository, start_shared_server):
    return start_shared_server("--model-repository", str(repository), "--batch-sizes", "1,4,16,64", model=None)


def test_all_are_listed(many):
    models = many.stub.ListModels(pb.ListModelsRequest(), timeout=10).models
    assert [(m.name, m.version) for m in models] == [("digits", 1), ("gauss", 1), ("numbers", 1), ("numbers", 3)]
    gauss = models[1]
    assert list(gauss.sample_shape) == [3, 8, 8]
    assert gauss.num_classes == 0 and not gauss.HasField("null_class") and not gauss.inputs


def test_which_one_is_meant(many):
    newest = many.stub.GetModel(pb.GetModelRequest(model="numbers"), timeout=10)
    assert (newest.version, newest.default_steps) == (3, 5)
    old = many.stub.GetModel(pb.GetModelRequest(model="numbers", model_version=1), timeout=10)
    assert (old.version, old.default_steps) == (1, 50)
    assert sample(many.stub, model="numbers").accepted.total_steps == 5
    failure = failing(many.stub.Sample, pb.SampleRequest(), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "model" in failure.violations
    for name in ("digits", "gauss", "numbers"):
        assert name in failure.message
    failure = failing(many.stub.Sample, pb.SampleRequest(model="numbers", model_version=2), timeout=10)
    assert failure.code == grpc.StatusCode.NOT_FOUND
    assert "1, 3" in failure.message


def test_mixed_traffic_gets_right_results(many, repository):
    digits, gauss = Reference(DIGITS), Reference(repository / "gauss" / "1")
    before = many.metrics()
    wanted = []
    for i in range(12):
        name = ("digits", "gauss", "numbers")[i % 3]
        sampler = ("ddim", "ddpm")[i % 2]
        steps = 8 + i
        labels = None if name == "gauss" else [i % 10]
        request = dict(
            model=name,
            seed=500 + i,
            class_labels=labels or [],
            guidance_scale=1,
            sampler=dict(kind=f"KIND_{sampler.upper()}", steps=steps),
        )
        reference = gauss if name == "gauss" else digits
        wanted.append((request, reference.sample(sampler, steps, 500 + i, labels=labels)))

    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda w: sample(many.stub, **w[0]), wanted))

    for (request, expected), got in zip(wanted, answers, strict=True):
        assert got.accepted.model == request["model"]
        assert error_of(got.samples, expected) <= 1e-3, request
    many.until_idle()
    after = many.metrics()
    for name in ("digits", "gauss", "numbers"):
        rows = sum(r["sampler"]["steps"] for r, _ in wanted if r["model"] == name)
        gained = after.total("rows_total", model=name) - before.total("rows_total", model=name)
        assert gained == rows


def exact_deviation(alpha_bars: list[float], deviation: float) -> float:
    """Of a sample of ancestral sampling (fixed-small variance) over these levels, where the denoiser
    is the optimal one for data from N(0, deviation²): every step is linear in x, so x stays normal."""
    variance = 1.0
    for level, after in itertools.pairwise(alpha_bars):
        total = level * deviation**2 + 1 - level
        x_0 = level**0.5 * deviation**2 / total  # of the prediction, for x = 1
        beta = 1 - level / after
        gain = (after**0.5 * beta * x_0 + (1 - beta) ** 0.5 * (1 - after)) / (1 - level)
        variance = gain**2 * variance + (1 - after) / (1 - level) * beta
    return variance**0.5


def test_a_chain_of_the_optimal_denoiser_has_the_exact_distribution(many):
    """4 · 64 · 192 elements: their deviation is known within 0.4 %."""
    got = [
        sample(many.stub, model="gauss", num_samples=64, seed=1000 * i, sampler=dict(kind="KIND_DDPM", steps=100))
        for i in range(4)
    ]
    x = np.concatenate([g.samples for g in got]).astype(np.float64)
    assert abs(x.mean()) < 0.01
    expected = exact_deviation(list(got[0].accepted.alpha_bars), 0.5)
    assert expected == pytest.approx(0.5, rel=0.1)
    assert x.std() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [(dict(class_labels=[0]), "class_labels"), (dict(guidance_scale=2), "guidance_scale")],
    ids=["labels", "guidance"],
)
def test_what_a_model_without_classes_cannot_do(many, request_fields, field):
    failure = failing(many.stub.Sample, pb.SampleRequest(model="gauss", **request_fields), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in failure.violations


def test_pictures_in_colour(many):
    import io

    from PIL import Image

    request = dict(model="gauss", seed=1, sampler=dict(kind="KIND_DDIM", steps=10))
    raw = sample(many.stub, **request).samples[0]
    [png] = sample(many.stub, encoding="ENCODING_PNG", **request).result.pngs
    image = Image.open(io.BytesIO(png))
    assert image.mode == "RGB" and image.size == (8, 8)
    pixels = np.asarray(image).transpose(2, 0, 1)
    assert np.max(np.abs(pixels - np.clip((raw + 1) / 2, 0, 1) * 255)) <= 0.52


def test_diffuse_uses_the_model_named(many):
    x_0 = tensor(np.zeros((2, 3, 8, 8)))
    stream = many.stub.Diffuse(pb.DiffuseRequest(model="gauss", x_0=x_0, timesteps=[999], seed=1), timeout=20)
    events = list(stream)
    assert len(events) == 3
    assert list(events[1].state.tensor.shape) == [1, 3, 8, 8]


def test_a_link_out_of_the_repository_is_refused(start_process, tmp_path):
    root = tmp_path / "linked"
    root.mkdir()
    (root / "digits").symlink_to(DIGITS)
    process = start_process(
        "--model-repository",
        str(root),
        "--log-level",
        "warn",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    )
    assert process.wait(within=30) > 0
    assert "symbolic link" in process.stderr


@pytest.mark.parametrize("root", ["empty", "nowhere"])
def test_no_models(start_process, tmp_path, root):
    (tmp_path / "empty").mkdir()
    process = start_process("--model-repository", str(tmp_path / root), "--log-level", "warn")
    assert process.wait(within=30) > 0
    [line] = process.stderr.splitlines()
    assert str(tmp_path / root) in line


def test_one_bad_model_refuses_all(start_process, repository, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(repository, root)
    (root / "gauss" / "1" / "denoiser.pt").write_bytes(b"")
    process = start_process(
        "--model-repository",
        str(root),
        "--log-level",
        "warn",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    )
    assert process.wait(within=30) > 0
    [line] = process.stderr.splitlines()
    assert "gauss" in line and "denoiser.pt" in line
