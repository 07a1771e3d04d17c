"""The bundled model, served, beside diffusers as it is: same model, same seeds, same numbers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from harness.api import sample
from harness.paths import DIGITS
from harness.reference import KINDS, Reference, error_of
from harness.server import Server

LEAST_ALLOWED = 1e-6  # for rounding, in any case


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
        return {
            "num_samples": self.n,
            "seed": self.seed,
            "sampler": {"kind": KINDS[self.sampler], "steps": self.steps, "eta": self.eta},
            "class_labels": [] if self.label is None else [self.label],
            "guidance_scale": self.guidance,
        }

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


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"), "--model", str(DIGITS))
    try:
        yield server.stub
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def reference():
    return Reference(DIGITS)


@pytest.fixture
def check(allowed_error):
    """check(sampler, got, expected, what)"""

    def check(sampler, got, expected, what):
        error = error_of(got, expected)
        assert error <= allowed_error(f"{sampler}, bundled model", error, what, LEAST_ALLOWED), what

    return check


def test_mixed_company_gives_what_diffusers_gives(stub, reference, check):
    """All cases at once, so that every batch is a mixture."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        answers = pool.map(lambda case: sample(stub, **case.request()).samples, CASES)
        for case, answer in zip(CASES, answers, strict=True):
            check(case.sampler, answer, case.expected(reference), case)


@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        ({"timestep_spacing": "TIMESTEP_SPACING_TRAILING"}, {"timestep_spacing": "trailing"}),
        ({"timestep_spacing": "TIMESTEP_SPACING_LINSPACE"}, {"timestep_spacing": "linspace"}),
        ({"clip_sample": False}, {"clip_sample": False}),
        ({"clip_sample": True}, {"clip_sample": True}),
        ({"clip_sample": True, "clip_sample_range": 0.8}, {"clip_sample": True, "clip_sample_range": 0.8}),
    ],
    ids=["trailing", "linspace", "unclipped", "clipped", "narrow"],
)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_options_mean_what_they_mean_in_diffusers(stub, reference, check, sampler, options, overrides):
    got = sample(
        stub, seed=77, class_labels=[2], guidance_scale=1, sampler=dict(kind=KINDS[sampler], steps=15, **options)
    )
    expected = reference.sample(sampler, 15, 77, labels=[2], **overrides)
    check(sampler, got.samples, expected, options)


def test_variance_fixed_large(stub, reference, check):
    got = sample(
        stub,
        seed=78,
        class_labels=[2],
        guidance_scale=1,
        sampler={"kind": "KIND_DDPM", "steps": 15, "variance": "VARIANCE_FIXED_LARGE"},
    )
    expected = reference.sample("ddpm", 15, 78, labels=[2], variance_type="fixed_large")
    check("ddpm", got.samples, expected, "fixed_large")


@pytest.mark.slow
def test_a_full_chain_of_1000_steps(stub, reference, check):
    got = sample(stub, seed=5, class_labels=[7], guidance_scale=1, sampler={"kind": "KIND_DDPM", "steps": 1000})
    check("ddpm, 1000 steps", got.samples, reference.sample("ddpm", 1000, 5, labels=[7]), "")
