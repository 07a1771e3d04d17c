"""Image to image and inpainting, on the bundled model against diffusers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.api import sample, tensor
from harness.reference import KINDS, STOCHASTIC, error_of

STEPS = 20


@pytest.fixture(scope="module")
def digit(digits_server):
    """A clean picture of the model's, [1, 1, 28, 28]."""
    return sample(
        digits_server.stub, seed=1, class_labels=[3], sampler=dict(kind="KIND_DDIM", steps=20, clip_sample=True)
    ).samples


@pytest.fixture(scope="module")
def mask():
    """Keeps the upper half; a soft edge below it."""
    values = np.zeros((1, 1, 28, 28), np.float32)
    values[..., :13, :] = 1
    values[..., 13, :] = 0.5
    return values


def tolerance(sampler: str) -> float:
    return 1e-3 if sampler in STOCHASTIC else 1e-4


def test_image_to_image_as_diffusers_pipelines_do_it(stub, reference, digit, report):
    cases = [
        (sampler, strength, 600 + i)
        for i, (sampler, strength) in enumerate(
            (s, v)
            for s in ("ddim", "ddpm", "euler", "euler_ancestral", "dpmpp_2m", "unipc", "deis")
            for v in (0.3, 0.75, 1.0)
        )
    ]

    def run(case):
        sampler, strength, seed = case
        return sample(
            stub,
            seed=seed,
            num_samples=2,
            class_labels=[8],
            sampler=dict(kind=KINDS[sampler], steps=STEPS),
            guidance_scale=2,
            image_to_image=dict(image=tensor(digit), strength=strength),
        )

    with ThreadPoolExecutor(len(cases)) as pool:
        answers = list(pool.map(run, cases))
    errors = {}
    for (sampler, strength, seed), answer in zip(cases, answers, strict=True):
        assert answer.accepted.total_steps == int(STEPS * strength)
        expected = reference.sample(
            sampler, STEPS, seed, n=2, labels=[8, 8], guidance=2, image=digit, strength=strength
        )
        errors[sampler, strength] = error_of(answer.samples, expected)
    worst = max(errors, key=errors.get)
    report("worst error of image to image", f"{errors[worst]:.2g} ({worst})")
    assert not {k: e for k, e in errors.items() if e > tolerance(k[0])}


def test_little_strength_stays_near_the_image(stub, digit):
    def distance(strength: float) -> float:
        got = sample(
            stub,
            seed=9,
            class_labels=[3],
            sampler=dict(kind="KIND_DDIM", steps=50),
            image_to_image=dict(image=tensor(digit), strength=strength),
        )
        return float(np.mean((got.samples - digit) ** 2))

    assert distance(0.1) < 0.3 * distance(1.0)


def test_states_stream_as_ever(stub, digit):
    got = sample(
        stub,
        seed=9,
        class_labels=[3],
        sampler=dict(kind="KIND_DDIM", steps=10),
        image_to_image=dict(image=tensor(digit), strength=0.5),
        states=dict(every_n_steps=1, steps=[0], content=["CONTENT_X_T"]),
    )
    states = got.states_of()
    assert list(states) == [0, 1, 2, 3, 4, 5]
    # Step 0 is the noised image: α x_0 + σ z, of which z has variance 1.
    alpha_bar = got.accepted.alpha_bars[0]
    z = (states[0] - np.sqrt(alpha_bar) * digit[0]) / np.sqrt(1 - alpha_bar)
    assert abs(float(np.mean(z**2)) - 1) < 0.2


def test_inpainting_keeps_what_the_mask_says(stub, reference, digit, mask, report):
    cases = [("ddim", 2.0, 700), ("ddpm", 2.0, 701), ("dpmpp_2m", 1.0, 702)]
    errors = {}
    for sampler, guidance, seed in cases:
        got = sample(
            stub,
            seed=seed,
            num_samples=2,
            class_labels=[5],
            guidance_scale=guidance,
            sampler=dict(kind=KINDS[sampler], steps=STEPS),
            inpainting=dict(image=tensor(digit), mask=tensor(mask)),
        ).samples
        kept = np.broadcast_to(mask == 1, got.shape)
        assert np.array_equal(got[kept], np.broadcast_to(digit, got.shape)[kept])
        expected = reference.sample(sampler, STEPS, seed, n=2, labels=[5, 5], guidance=guidance, known=digit, mask=mask)
        errors[sampler] = error_of(got, expected)
    report("worst error of inpainting", f"{max(errors.values()):.2g}")
    assert not {k: e for k, e in errors.items() if e > tolerance(k)}


def test_resampling_costs_what_it_says_and_keeps_the_image(stub, digit, mask):
    def run(**jumps):
        return sample(
            stub,
            seed=3,
            class_labels=[5],
            guidance_scale=1,
            sampler=dict(kind="KIND_DDPM", steps=12),
            inpainting=dict(image=tensor(digit), mask=tensor(mask), **jumps),
            states=dict(every_n_steps=1),
        )

    plain, resampled = run(), run(jump_length=3, jump_samples=2)
    assert plain.result.denoiser_rows == 12
    assert resampled.result.denoiser_rows > 12
    steps = [s.step for s in resampled.states]
    assert steps == sorted(set(steps)) and steps[-1] == resampled.accepted.total_steps
    kept = mask[0] == 1
    for outcome in (plain, resampled):
        assert np.array_equal(outcome.samples[0][kept], digit[0][kept])
    assert not np.allclose(plain.samples, resampled.samples)


def test_image_to_image_and_inpainting_together(stub, digit, mask):
    got = sample(
        stub,
        seed=4,
        class_labels=[5],
        sampler=dict(kind="KIND_DDIM", steps=10),
        image_to_image=dict(image=tensor(digit), strength=0.5),
        inpainting=dict(image=tensor(digit), mask=tensor(mask)),
    )
    kept = mask[0] == 1
    assert np.array_equal(got.samples[0][kept], digit[0][kept])
