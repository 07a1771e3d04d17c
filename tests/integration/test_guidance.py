"""Guidance beyond its scale: rescaling, an interval of noise levels, what it leads away from."""

from concurrent.futures import ThreadPoolExecutor

from harness.api import sample
from harness.reference import KINDS, Guidance, error_of

STEPS = 20


def request_of(sampler: str, guidance: Guidance, seed: int) -> dict:
    fields = dict(
        seed=seed,
        num_samples=2,
        class_labels=[3],
        sampler=dict(kind=KINDS[sampler], steps=STEPS),
        guidance_scale=guidance.scale,
        guidance_rescale=guidance.rescale,
    )
    if guidance.negative is not None:
        fields["negative_class_labels"] = [guidance.negative]
    if guidance.sigma_max < float("inf") or guidance.sigma_min >= 0:
        fields["guidance_interval"] = dict(
            sigma_min=max(guidance.sigma_min, 0),
            sigma_max=0 if guidance.sigma_max == float("inf") else guidance.sigma_max,
        )
    return fields


GUIDANCES = [
    Guidance(3.0, rescale=0.7),
    Guidance(2.0, rescale=1.0),
    Guidance(4.0, sigma_min=0.3, sigma_max=5.0),
    Guidance(4.0, sigma_min=0.5),
    Guidance(3.0, negative=5),
    Guidance(3.0, rescale=0.5, sigma_min=0.2, sigma_max=20.0, negative=8),
]


def test_each_kind_of_guidance_in_one_mixture(stub, reference, report):
    cases = [
        (sampler, guidance, 400 + i)
        for i, (sampler, guidance) in enumerate((s, g) for s in ("ddim", "ddpm", "dpmpp_2m") for g in GUIDANCES)
    ]
    with ThreadPoolExecutor(len(cases)) as pool:
        answers = list(pool.map(lambda case: sample(stub, **request_of(*case)).samples, cases))
    errors = {}
    for (sampler, guidance, seed), answer in zip(cases, answers, strict=True):
        expected = reference.sample(sampler, STEPS, seed, n=2, labels=[3, 3], guidance=guidance)
        errors[sampler, guidance] = error_of(answer, expected)
    worst = max(errors, key=errors.get)
    report("worst error of guidance", f"{errors[worst]:.2g} ({worst})")
    assert not {k: e for k, e in errors.items() if e > (1e-3 if k[0] == "ddpm" else 1e-4)}


def test_outside_the_interval_a_row_costs_half(stub, reference):
    def rows(**fields) -> int:
        return sample(
            stub, seed=1, class_labels=[3], guidance_scale=3, sampler=dict(kind="KIND_DDIM", steps=STEPS), **fields
        ).result.denoiser_rows

    times = [round(i * 1000 / STEPS) for i in range(STEPS)]
    ratios = [reference._noise_ratio(t) for t in times]
    inside = sum(0.4 < r <= 6 for r in ratios)
    assert 0 < inside < STEPS
    assert rows() == 2 * STEPS
    assert rows(guidance_interval=dict(sigma_min=0.4, sigma_max=6)) == STEPS + inside
    assert rows(guidance_interval=dict(sigma_min=1e6)) == STEPS
