"""Streamed states have the forward process's distribution at their t."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.api import array, pb, sample
from harness.models import GaussianDenoiser, write_model
from harness.server import ONE_ENGINE

DEVIATION = 0.5  # of the data
STEPS = 50
SHOWN = (1, 5, 15, 25, 35, 45)
CHAINS = 256


@pytest.fixture(scope="module")
def gaussian_stub(start_shared_server, tmp_path_factory):
    """Of N(0, DEVIATION²) in every element, by the optimal denoiser."""
    folder = write_model(tmp_path_factory.mktemp("models") / "gaussian", GaussianDenoiser(DEVIATION))
    return start_shared_server(*ONE_ENGINE, "--batch-sizes", "1,16,64", "--max-state-bytes", "64M", model=folder).stub


def mean_squares(alpha_bars) -> list[float]:
    """E x² of an element after each step of DDPM (Ho, Jain, Abbeel 2020, eq. 7, fixed_small) with the optimal denoiser
    of N(0, DEVIATION²), which is linear, so that every x_t is Gaussian."""
    squares = [1.0]
    for a, b in itertools.pairwise(alpha_bars):
        gain = a**0.5 * DEVIATION**2 / (a * DEVIATION**2 + 1 - a)  # x̂_0 of x
        beta = 1 - a / b
        mean = (b**0.5 * beta * gain + (a / b) ** 0.5 * (1 - b)) / (1 - a)
        squares.append(mean**2 * squares[-1] + (1 - b) / (1 - a) * beta)
    return squares


def test_x_t_has_the_mean_square_of_its_chain(gaussian_stub, report):
    """At the beginning that of the forward process, ᾱ_t E|x_0|² + σ_t²; 50 steps come to less at the end."""

    def run(seed: int):
        return sample(
            gaussian_stub,
            num_samples=64,
            seed=seed,
            sampler=dict(kind="KIND_DDPM", steps=STEPS),
            states=dict(steps=SHOWN, content=["CONTENT_X_T"]),
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(10_000, 10_000 + CHAINS, 64)))
    lines = []
    for step in SHOWN:
        states = [s for a in answers for s in a.states if s.step == step]
        assert len(states) == CHAINS
        squares = np.stack([array(s.tensor)[0] for s in states]).astype(np.float64) ** 2
        alpha_bar = states[0].alpha_bar
        expected = mean_squares(answers[0].accepted.alpha_bars)[step]
        allowed = 4 * np.std(np.mean(squares, axis=(1, 2, 3))) / np.sqrt(CHAINS)
        lines.append(
            f"step {step}: t={states[0].timestep:.0f} ᾱ={alpha_bar:.4f} "
            f"measured {np.mean(squares):.4f} expected {expected:.4f} (±{allowed:.4f})"
        )
        assert abs(np.mean(squares) - expected) <= allowed, lines[-1]
    report("mean square of x_t", "\n      ".join(["", *lines]))


def test_the_check_would_notice_states_on_another_scale(stub):
    """Negative control: x_t/α_t, which some libraries keep instead, is far off."""
    got = sample(
        stub,
        num_samples=32,
        seed=1,
        guidance_scale=1,
        sampler=dict(kind="KIND_DDPM", steps=20),
        states=dict(steps=[5], content=["CONTENT_X_T"]),
    )
    states = [s for s in got.states if s.step == 5]
    alpha_bar = states[0].alpha_bar
    mean_square = np.mean([np.mean(array(s.tensor).astype(np.float64) ** 2) for s in states])
    expected = alpha_bar * np.mean(got.samples.astype(np.float64) ** 2) + 1 - alpha_bar
    assert abs(mean_square / alpha_bar - expected) > 0.5 * expected


def test_x_t_and_the_prediction_belong_together(stub):
    """x_t = α_t x̂_0 + σ_t ε with one ε for both: DDIM keeps the ε of the step that made the state,
    so the ε implied by (x_t, x̂_0) after a step is that implied by (x_t, x̂_0) before it."""
    got = sample(
        stub,
        seed=8,
        class_labels=[2],
        guidance_scale=1,
        sampler=dict(kind="KIND_DDIM", steps=10, clip_sample=False),
        states=dict(steps=range(11), content=["CONTENT_X_T", "CONTENT_PREDICTED_X_0"]),
    )
    x = got.states_of(content=pb.CONTENT_X_T)
    x_0 = got.states_of(content=pb.CONTENT_PREDICTED_X_0)
    alpha_bars = got.accepted.alpha_bars
    assert 0 not in x_0, "nothing has been predicted at step 0"
    for step in range(1, 10):
        a, b = alpha_bars[step - 1], alpha_bars[step]
        before = (x[step - 1] - a**0.5 * x_0[step]) / (1 - a) ** 0.5
        after = (x[step] - b**0.5 * x_0[step]) / (1 - b) ** 0.5
        np.testing.assert_allclose(after, before, atol=2e-3)
