"""Models with further inputs: named tensors, batched where their shapes agree."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import torch

from harness.api import pb, sample, tensor
from harness.errors import failing
from harness.models import GaussianDenoiser, write_model
from harness.reference import draw, generators
from harness.server import ONE_ENGINE

SHAPE = (1, 4, 4)


class Conditioned(torch.nn.Module):
    """Takes a vector, and tokens of which there may be any number with a mask over them."""

    def __init__(self):
        super().__init__()
        self.inner = GaussianDenoiser()

    def forward(self, x, t, style, tokens, tokens_mask):
        weights = tokens_mask.to(x.dtype).unsqueeze(-1)
        mean = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)
        shift = torch.tanh(style.sum(1) + 2 * mean.sum(1)).view(-1, 1, 1, 1)
        return self.inner(x, t) + 0.2 * shift


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(
        tmp_path_factory.mktemp("models") / "conditioned",
        Conditioned(),
        SHAPE,
        inputs=[
            dict(name="style", kind="condition", dtype="float32", shape=[3], null=0),
            dict(name="tokens", kind="condition", dtype="float32", shape=[-1, 2], null=0),
            dict(name="tokens_mask", kind="condition", dtype="bool", shape=[-1], null=True),
        ],
    )


@pytest.fixture(scope="module")
def conditioned(start_shared_server, folder):
    return start_shared_server(*ONE_ENGINE, "--batch-sizes", "1,2,4,8,16", model=folder)


@torch.inference_mode()
def expected(conditions, seed, n, steps, scale=1.0):
    """DDIM with float32 tables of diffusers' own."""
    import diffusers

    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(steps)
    model = Conditioned()
    x = draw(generators(seed, n), SHAPE)
    for t in scheduler.timesteps:
        times = torch.full((n,), float(t))
        out = model(x, times, *conditions)
        if scale != 1:
            null = [torch.zeros_like(c) if c.dtype != torch.bool else torch.ones_like(c) for c in conditions]
            without = model(x, times, *null)
            out = without + scale * (out - without)
        x = scheduler.step(out, t, x).prev_sample
    return x.numpy()


def random_conditions(seed, n, tokens):
    rng = np.random.default_rng(seed)
    mask = rng.random((n, tokens)) < 0.7
    mask[:, 0] = True
    return (rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(n, tokens, 2)).astype(np.float32), mask)


def test_requests_of_many_shapes_at_once(conditioned, report):
    cases = [
        (seed, n, tokens, scale)
        for seed, (n, tokens, scale) in enumerate(
            (n, tokens, scale) for n in (1, 3) for tokens in (1, 4, 9) for scale in (1.0, 2.5)
        )
    ]

    def run(case):
        seed, n, tokens, scale = case
        style, values, mask = random_conditions(seed, n, tokens)
        return sample(
            conditioned.stub,
            seed=seed,
            num_samples=n,
            guidance_scale=scale,
            sampler=dict(kind="KIND_DDIM", steps=20, clip_sample=False),
            conditions={"style": tensor(style), "tokens": tensor(values), "tokens_mask": tensor(mask)},
        ).samples

    with ThreadPoolExecutor(len(cases)) as pool:
        answers = list(pool.map(run, cases))
    errors = []
    for (seed, n, tokens, scale), answer in zip(cases, answers, strict=True):
        conditions = [torch.from_numpy(c) for c in random_conditions(seed, n, tokens)]
        errors.append(np.max(np.abs(answer - expected(conditions, seed, n, 20, scale))))
    report("worst error with conditions", f"{max(errors):.2g}")
    assert max(errors) <= 1e-4


def test_one_for_all_samples_is_one_each(conditioned):
    style, values, mask = random_conditions(3, 1, 4)
    repeated = [np.repeat(c, 3, axis=0) for c in (style, values, mask)]

    def run(conditions):
        names = ("style", "tokens", "tokens_mask")
        return sample(
            conditioned.stub,
            seed=5,
            num_samples=3,
            sampler=dict(kind="KIND_DDIM", steps=10),
            conditions={name: tensor(c) for name, c in zip(names, conditions, strict=True)},
        ).samples

    np.testing.assert_allclose(run((style, values, mask)), run(repeated), atol=1e-6)


def test_negative_conditions_replace_the_null(conditioned):
    style, values, mask = random_conditions(3, 1, 4)

    def run(**fields):
        return sample(
            conditioned.stub,
            seed=5,
            guidance_scale=3,
            sampler=dict(kind="KIND_DDIM", steps=10),
            conditions={"style": tensor(style), "tokens": tensor(values), "tokens_mask": tensor(mask)},
            **fields,
        ).samples

    null = run(negative_conditions={"style": tensor(np.zeros((1, 3)))})
    np.testing.assert_allclose(null, run(), atol=1e-6)
    assert not np.allclose(null, run(negative_conditions={"style": tensor(np.ones((1, 3)))}))


def test_the_model_tells_its_inputs(conditioned):
    inputs = conditioned.stub.GetModel(pb.GetModelRequest()).inputs
    assert [(i.name, i.kind, i.dtype, list(i.shape)) for i in inputs] == [
        ("style", "condition", pb.DATA_TYPE_FLOAT32, [3]),
        ("tokens", "condition", pb.DATA_TYPE_FLOAT32, [-1, 2]),
        ("tokens_mask", "condition", pb.DATA_TYPE_BOOL, [-1]),
    ]


def test_bad_conditions(conditioned):
    style, values, mask = random_conditions(3, 1, 4)
    good = {"style": tensor(style), "tokens": tensor(values), "tokens_mask": tensor(mask)}
    for change in (
        {"style": tensor(np.zeros((1, 4)))},
        {"style": tensor(np.zeros((2, 3)))},
        {"style": tensor(np.zeros((1, 3), np.int64))},
        {"style": tensor(np.full((1, 3), np.nan))},
        {"tokens": tensor(np.zeros((1, 4, 3)))},
        {"tokens": tensor(np.zeros((1, 0, 2)))},
        {"colour": tensor(np.zeros((1, 3)))},
    ):
        failure = failing(conditioned.stub.Sample, pb.SampleRequest(conditions=good | change), timeout=10)
        assert failure.code == grpc.StatusCode.INVALID_ARGUMENT, failure
        assert any(f.startswith("conditions") for f in failure.violations), failure
        assert next(iter(change)) in str(failure), failure
