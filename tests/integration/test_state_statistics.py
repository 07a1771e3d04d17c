"""Streamed states have the forward process's distribution at their t."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.api import array, pb, sample

STEPS = 50
SHOWN = (1, 5, 15, 25, 35, 45)
CHAINS = 256


def test_x_t_has_the_mean_square_of_the_forward_process(stub, report):
    """E|x_t|² = ᾱ_t E|x_0|² + σ_t² for x_t ~ q(x_t), and a well-trained chain's x_t is that. x_0 is
    what the same chains end in."""

    def run(seed: int):
        return sample(
            stub, num_samples=64, seed=seed, guidance_scale=1,
            sampler=dict(kind="KIND_DDPM", steps=STEPS),
            states=dict(steps=SHOWN, content=["CONTENT_X_T"]),
        )

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(10_000, 10_000 + CHAINS, 64)))

    x_0 = np.concatenate([a.samples for a in answers]).astype(np.float64)
    assert x_0.shape[0] == CHAINS
    clean = np.mean(x_0**2)
    spread = np.std(np.mean(x_0**2, axis=(1, 2, 3))) / np.sqrt(CHAINS)

    lines = []
    for step in SHOWN:
        states = [s for a in answers for s in a.states if s.step == step]
        assert len(states) == CHAINS
        x_t = np.stack([array(s.tensor)[0] for s in states]).astype(np.float64)
        alpha_bar, sigma = states[0].alpha_bar, states[0].sigma
        measured = np.mean(x_t**2)
        expected = alpha_bar * clean + sigma**2
        per_chain = np.std(np.mean(x_t**2, axis=(1, 2, 3))) / np.sqrt(CHAINS)
        # Sampling error, and 2 % for a model that is good rather than perfect.
        allowed = 4 * np.hypot(per_chain, alpha_bar * spread) + 0.02 * expected
        lines.append(
            f"step {step}: t={states[0].timestep:.0f} ᾱ={alpha_bar:.4f} "
            f"measured {measured:.4f} expected {expected:.4f} (±{allowed:.4f})"
        )
        assert abs(measured - expected) <= allowed, lines[-1]
    report("mean square of x_t", "\n      ".join(["", *lines]))


def test_the_check_would_notice_states_on_another_scale(stub):
    """Negative control: x_t/α_t, which some libraries keep instead, is far off."""
    got = sample(
        stub, num_samples=32, seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDPM", steps=20),
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
        stub, seed=8, class_labels=[2], guidance_scale=1,
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
