"""The whole service against diffusers: same model, same seeds, same numbers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from harness.api import sample
from harness.reference import KINDS, STOCHASTIC, error_of

TOLERANCE = {name: 1e-3 if name in STOCHASTIC else 1e-4 for name in KINDS}


@dataclass(frozen=True)
class Case:
    sampler: str
    steps: int
    guidance: float
    seed: int
    n: int = 2
    eta: float = 0
    label: int | None = 3

    def request(self) -> dict:
        return dict(
            num_samples=self.n,
            seed=self.seed,
            sampler=dict(kind=KINDS[self.sampler], steps=self.steps, eta=self.eta),
            class_labels=[] if self.label is None else [self.label],
            guidance_scale=self.guidance,
        )

    def expected(self, reference):
        labels = None if self.label is None else [self.label] * self.n
        return reference.sample(self.sampler, self.steps, self.seed, self.n, labels, self.guidance, self.eta)


CASES = (
    [
        Case(sampler, steps, guidance, seed=1000 + 7 * steps + int(guidance))
        for sampler in ("ddim", "ddpm")
        for steps in (7, 30, 50)
        for guidance in (1, 2)
    ]
    + [
        Case(sampler, 20, guidance, seed=2000 + i, n=1)
        for i, sampler in enumerate(sorted(KINDS.keys() - {"ddim", "ddpm"}))
        for guidance in (1, 2)
    ]
    + [
        Case("ddim", 30, 1, seed=50, eta=1.0),
        Case("ddim", 30, 3.5, seed=51, eta=0.5, label=8),
        Case("ddim", 20, 1, seed=52, label=None),
        Case("ddpm", 20, 1, seed=53, label=None),
        # Of a seed only the low 32 bits count in torch's generator.
        Case("ddpm", 7, 1, seed=2**40 + 5),
    ]
)


def test_mixed_company_gives_what_diffusers_gives(stub, reference, report):
    """All cases at once, so that every batch is a mixture."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        answers = pool.map(lambda case: sample(stub, **case.request()).samples, CASES)
        errors = {c: error_of(a, c.expected(reference)) for c, a in zip(CASES, answers, strict=True)}
    for sampler, most in TOLERANCE.items():
        worst = max(e for c, e in errors.items() if c.sampler == sampler)
        report(f"worst error {sampler}, {len(CASES)} requests at once", f"{worst:.2g} (of {most:g})")
    assert not {c: e for c, e in errors.items() if e > TOLERANCE[c.sampler]}


@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        (dict(timestep_spacing="TIMESTEP_SPACING_TRAILING"), dict(timestep_spacing="trailing")),
        (dict(timestep_spacing="TIMESTEP_SPACING_LINSPACE"), dict(timestep_spacing="linspace")),
        (dict(clip_sample=False), dict(clip_sample=False)),
        (dict(clip_sample=True), dict(clip_sample=True)),
        (dict(clip_sample=True, clip_sample_range=0.8), dict(clip_sample=True, clip_sample_range=0.8)),
    ],
    ids=["trailing", "linspace", "unclipped", "clipped", "narrow"],
)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_options_mean_what_they_mean_in_diffusers(stub, reference, sampler, options, overrides):
    got = sample(
        stub, seed=77, class_labels=[2], guidance_scale=1, sampler=dict(kind=KINDS[sampler], steps=15, **options)
    )
    expected = reference.sample(sampler, 15, 77, labels=[2], **overrides)
    assert error_of(got.samples, expected) <= TOLERANCE[sampler]


def test_variance_fixed_large(stub, reference):
    got = sample(
        stub,
        seed=78,
        class_labels=[2],
        guidance_scale=1,
        sampler=dict(kind="KIND_DDPM", steps=15, variance="VARIANCE_FIXED_LARGE"),
    )
    expected = reference.sample("ddpm", 15, 78, labels=[2], variance_type="fixed_large")
    assert error_of(got.samples, expected) <= TOLERANCE["ddpm"]


@pytest.mark.slow
def test_a_full_chain_of_1000_steps(stub, reference, report):
    got = sample(stub, seed=5, class_labels=[7], guidance_scale=1, sampler=dict(kind="KIND_DDPM", steps=1000))
    error = error_of(got.samples, reference.sample("ddpm", 1000, 5, labels=[7]))
    report("error of DDPM with 1000 steps", f"{error:.2g}")
    assert error <= TOLERANCE["ddpm"]
