"""Evaluate: the bound on the likelihood, against the formulas in float64 with the same noise."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from harness.api import evaluate, pb, sample, tensor
from harness.models import GaussianDenoiser, write_model
from harness.reference import draw, generators
from harness.server import ONE_ENGINE

LN2 = math.log(2)


def normal_cdf(x):
    return 0.5 * torch.erfc(-x / math.sqrt(2))


def discretised_nats(x_0, mean, deviation):
    """-log of a Gaussian's mass in the bin of each of 256 levels in [-1, 1]; the outermost are open."""
    upper = torch.where(x_0 > 0.999, 1.0, normal_cdf((x_0 + 1 / 255 - mean) / deviation))
    lower = torch.where(x_0 < -0.999, 0.0, normal_cdf((x_0 - 1 / 255 - mean) / deviation))
    return -torch.log(torch.clamp(upper - lower, min=1e-12))


def terms_of(predict_epsilon, alpha_bars, x_0, seed, clip):
    """Bits per dimension, ε-MSE and x_0-MSE of every term, each [T, n], t descending; with variance
    fixed small. Ho et al. 2020, equations 8 and 13; the prior's bits [n]."""
    n, dimensions = len(x_0), x_0[0].numel()
    streams = generators(seed, n)
    total = lambda v: v.flatten(1).sum(1) / (dimensions * LN2)  # noqa: E731
    mean = lambda v: v.flatten(1).mean(1)  # noqa: E731
    bits, eps_mse, x_0_mse = [], [], []
    for t in reversed(range(len(alpha_bars))):
        a = float(alpha_bars[t])
        b = float(alpha_bars[t - 1]) if t > 0 else 1.0
        beta = 1 - a / b
        # At t = 0 the posterior has no variance, and that of t = 1 is taken.
        if t > 0:
            posterior = (1 - b) / (1 - a) * beta
        else:
            c = float(alpha_bars[1])
            posterior = (1 - a) / (1 - c) * (1 - c / a)
        z = draw(streams, x_0.shape[1:])
        x_t = (math.sqrt(a) * x_0 + math.sqrt(1 - a) * z.double()).float()
        epsilon = predict_epsilon(x_t, t).double()
        predicted = (x_t.double() - math.sqrt(1 - a) * epsilon) / math.sqrt(a)
        if clip:
            predicted = predicted.clamp(-1, 1)
        of_x_0 = math.sqrt(b) * beta / (1 - a)
        of_x = math.sqrt(1 - beta) * (1 - b) / (1 - a)
        if t > 0:
            bits.append(total(0.5 * (of_x_0 * (x_0 - predicted)) ** 2 / posterior))
        else:
            center = of_x_0 * predicted + of_x * x_t.double()
            bits.append(total(discretised_nats(x_0, center, math.sqrt(posterior))))
        # Of the ε that goes with the x̂0 that was clipped.
        epsilon = (x_t.double() - math.sqrt(a) * predicted) / math.sqrt(1 - a)
        eps_mse.append(mean((epsilon - z) ** 2))
        x_0_mse.append(mean((predicted - x_0) ** 2))
    a = float(alpha_bars[-1])
    prior = total(0.5 * (a * x_0**2 + (1 - a) - 1 - math.log(1 - a)))
    return (*tuple(torch.stack(v).numpy() for v in (bits, eps_mse, x_0_mse)), prior.numpy())


def close_terms(got, expected, report, name):
    bits, eps_mse, x_0_mse, prior = expected
    assert [t.timestep for t in got.terms] == list(reversed(range(len(bits))))
    apart = np.abs(np.array([t.bits_per_dim for t in got.terms]) - bits).sum(0).max()
    total = prior + bits.sum(0)
    error = np.max(np.abs(np.array(got.likelihood.total_bits_per_dim) - total))
    report(f"{name}: bits/dim {total.round(4)}, error", f"{error:.2g} (sum of terms' {apart:.2g})")
    assert error <= 1e-4
    np.testing.assert_allclose(got.likelihood.prior_bits_per_dim, prior, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose([t.eps_mse for t in got.terms], eps_mse, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose([t.x_0_mse for t in got.terms], x_0_mse, rtol=1e-3, atol=1e-6)
    assert list(got.likelihood.standard_error) == [0] * bits.shape[1]


def levels_of(x):
    """Brought to the nearest of 256 levels in [-1, 1]."""
    return (np.rint((np.clip(x, -1, 1) + 1) * 127.5) / 127.5 - 1).astype(np.float32)


@pytest.fixture(scope="module")
def digits(digits_server):
    """Two of the model's own pictures, with 256 levels: [2, 1, 28, 28]."""
    return levels_of(
        sample(
            digits_server.stub,
            num_samples=2,
            seed=1,
            class_labels=[3, 8],
            sampler=dict(kind="KIND_DDIM", steps=20, clip_sample=True),
        ).samples
    )


@pytest.fixture(scope="module")
def predict(reference):
    """What the denoiser says of the two of them: of x_t, which a seed determines, once at each t."""
    labels = torch.tensor([3, 8])
    said = {}

    def at(x, t):
        key = t, x.numpy().tobytes()
        if key not in said:
            said[key] = reference.denoiser(x, torch.full((len(x),), float(t)), labels)
        return said[key]

    return at


@pytest.mark.parametrize("clip", [True, False])
def test_the_bundled_model_agrees_with_the_formulas(stub, reference, digits, predict, clip, report):
    got = evaluate(stub, x_0=tensor(digits), seed=11, class_labels=[3, 8], clip_sample=clip)
    assert got.kinds == ["accepted"] + ["term"] * 1000 + ["likelihood"]
    assert list(got.accepted.timesteps) == list(reversed(range(1000)))
    with torch.inference_mode():
        expected = terms_of(predict, reference.alpha_bars, torch.tensor(digits).double(), 11, clip)
    close_terms(got, expected, report, f"digits, clip {clip}")


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    """A model of N(0, ¼) whose denoiser is the optimal one."""
    return write_model(tmp_path_factory.mktemp("models") / "gaussian", GaussianDenoiser(0.5), (1, 16, 16), levels=256)


@pytest.fixture(scope="module")
def gaussian_stub(start_shared_server, gaussian):
    return start_shared_server(model=gaussian).stub


def test_few_terms_cover_the_truth(gaussian_stub, report):
    """The sum over all t is the truth that 50 terms estimate; what is off is measured in the standard
    errors that the service tells."""
    x_0 = levels_of(np.random.default_rng(5).normal(0, 0.5, (8, 1, 16, 16)))
    full = np.mean(
        [evaluate(gaussian_stub, x_0=tensor(x_0), seed=s).likelihood.total_bits_per_dim for s in range(0, 160, 8)],
        axis=0,
    )
    deviations, errors = [], []
    for seed in range(10_000, 10_000 + 8 * 40, 8):
        got = evaluate(gaussian_stub, x_0=tensor(x_0), seed=seed, num_timesteps=50)
        assert len(got.terms) <= 51
        apart = np.array(got.likelihood.total_bits_per_dim) - full
        assert min(got.likelihood.standard_error) > 0
        deviations.extend(apart / got.likelihood.standard_error)
        errors.extend(apart)
    covered = np.mean(np.abs(deviations) < 2)
    report("50 terms: sd of the estimate", f"{np.std(errors):.3f} bits/dim")
    report("50 terms: mean of the estimate's error", f"{np.mean(errors):.4f} bits/dim")
    report("50 terms: within two standard errors", f"{covered:.0%}")
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors)) + 0.01
    assert covered > 0.85


def test_a_seed_gives_the_same_and_samples_have_streams_of_their_own(gaussian_stub):
    x_0 = levels_of(np.random.default_rng(6).normal(0, 0.5, (3, 1, 16, 16)))
    once = evaluate(gaussian_stub, x_0=tensor(x_0), seed=3)
    again = evaluate(gaussian_stub, x_0=tensor(x_0), seed=3)
    alone = evaluate(gaussian_stub, x_0=tensor(x_0[2:]), seed=5)
    total = np.array(once.likelihood.total_bits_per_dim)
    np.testing.assert_allclose(again.likelihood.total_bits_per_dim, total, rtol=1e-6)
    np.testing.assert_allclose(alone.likelihood.total_bits_per_dim[0], total[2], rtol=1e-6)
    assert evaluate(gaussian_stub, x_0=tensor(x_0)).accepted.seed != 3


def test_terms_share_batches_with_samples(start_server, digits):
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,2,4,8")
    stub = server.stub
    # Alone, one picture fills batches, as its terms do not depend on each other.
    before = server.metrics()
    evaluate(stub, x_0=tensor(digits[:1]), class_labels=[3], seed=1, num_timesteps=200)
    after = server.metrics()
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    rows = after.total("rows_total") - before.total("rows_total")
    assert rows / calls > 4, (rows, calls)

    with ThreadPoolExecutor(2) as pool:
        term_wise = pool.submit(evaluate, stub, x_0=tensor(digits), class_labels=[3], seed=1)
        samples = pool.submit(
            sample,
            stub,
            num_samples=4,
            class_labels=[3],
            seed=1,
            guidance_scale=1,
            sampler=dict(kind="KIND_DDIM", steps=100),
        )
        result = samples.result()
        assert len(term_wise.result().terms) == 1000
    # Half of each batch is left to others, so four chains need few more ticks than their steps.
    assert result.result.denoiser_rows == 400
    lone = evaluate(stub, x_0=tensor(digits), class_labels=[3], seed=1).likelihood
    shared = term_wise.result().likelihood
    np.testing.assert_allclose(shared.total_bits_per_dim, lone.total_bits_per_dim, atol=1e-4)


def test_cancel_frees_the_chains(server, stub, digits):
    call = stub.Evaluate(pb.EvaluateRequest(x_0=tensor(digits), class_labels=[3]), timeout=60)
    assert next(call).HasField("accepted")
    assert next(call).HasField("term")
    call.cancel()
    server.until_idle()
