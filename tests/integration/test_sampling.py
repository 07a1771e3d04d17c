"""Sample: what is answered, in which order, and what a seed means."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harness.api import array, pb, sample

BOTH = ["CONTENT_X_T", "CONTENT_PREDICTED_X_0"]
DDIM = dict(kind="KIND_DDIM", steps=10)


def picture(png: bytes) -> np.ndarray:
    """[H, W] of a grey PNG."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and image.mode == "L", (image.format, image.mode)
    return np.asarray(image)


def as_pixels(x: np.ndarray) -> np.ndarray:
    """[-1, 1] mapped to 0..255, what lies outside clamped; not rounded."""
    return np.clip((x + 1) / 2, 0, 1) * 255


def assert_same_picture(png: bytes, x: np.ndarray) -> None:
    """x: [H, W]. Half a level is all that rounding may take."""
    assert np.max(np.abs(picture(png) - as_pixels(x.astype(np.float64)))) <= 0.501


def test_accepted_then_states_then_one_result(stub):
    got = sample(
        stub, num_samples=3, seed=5, sampler=DDIM, class_labels=[1, 2, 3], states=dict(every_n_steps=1, content=BOTH)
    )
    assert got.kinds[0] == "accepted" and got.kinds[-1] == "result"
    assert set(got.kinds[1:-1]) == {"state"}
    assert len(got.states) == 3 * 10 * 2
    for i in range(3):
        for content in (pb.CONTENT_X_T, pb.CONTENT_PREDICTED_X_0):
            steps = [s.step for s in got.states if s.sample_index == i and s.content == content]
            assert steps == list(range(1, 11))
    assert got.result.states_dropped == 0
    assert all(s.total_steps == 10 for s in got.states)


@pytest.mark.parametrize(("kind", "steps"), [("ddim", 7), ("ddim", 50), ("ddpm", 30)])
def test_accepted_says_the_schedule_that_diffusers_would_use(stub, reference, kind, steps):
    scheduler = reference.scheduler(kind)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.numpy()

    got = sample(
        stub,
        seed=1,
        sampler=dict(kind=f"KIND_{kind.upper()}", steps=steps),
        guidance_scale=1,
        states=dict(every_n_steps=1),
    )

    assert got.accepted.total_steps == steps
    assert list(got.accepted.timesteps) == list(times)
    stride = 1000 // steps
    alpha_bars = scheduler.alphas_cumprod.double().numpy()
    expected = [alpha_bars[times[0]]]
    expected += [alpha_bars[t - stride] if t >= stride else 1.0 for t in times]
    np.testing.assert_allclose(got.accepted.alpha_bars, expected, rtol=2e-5)
    # A state says the same of itself as Accepted said beforehand.
    for state in got.states:
        assert state.alpha_bar == pytest.approx(got.accepted.alpha_bars[state.step], rel=1e-6)
        assert state.sigma == pytest.approx((1 - state.alpha_bar) ** 0.5, abs=1e-4)
        after = times[state.step] if state.step < steps else -1
        assert state.timestep == after


def test_accepted_names_the_call(stub):
    got = sample(stub, seed=7, sampler=DDIM, metadata=[("x-request-id", "my-call-17")])
    assert got.accepted.request_id == "my-call-17"
    assert got.accepted.seed == 7
    assert got.accepted.model_version == 1
    other = sample(stub, seed=7, sampler=DDIM)
    assert other.accepted.request_id not in ("", "my-call-17")


def test_last_state_is_the_result(stub):
    got = sample(
        stub, num_samples=2, seed=3, sampler=DDIM, class_labels=[4], states=dict(every_n_steps=3, content=BOTH)
    )
    for i in range(2):
        states = got.states_of(i)
        assert sorted(states) == [3, 6, 9, 10], "every third step, and always the last"
        assert np.array_equal(states[10], got.samples[i])


def test_chosen_steps_and_step_zero_only_when_named(stub):
    got = sample(stub, seed=3, sampler=DDIM, guidance_scale=1, states=dict(steps=[0, 4, 4], content=["CONTENT_X_T"]))
    states = got.states_of()
    assert sorted(states) == [0, 4, 10]
    every = sample(
        stub, seed=3, sampler=DDIM, guidance_scale=1, states=dict(every_n_steps=1, content=["CONTENT_X_T"])
    ).states_of()
    assert 0 not in every
    np.testing.assert_allclose(states[4], every[4], atol=1e-4)


def test_step_zero_is_the_noise_of_the_seed(stub, reference):
    from harness.reference import draw, generators

    got = sample(stub, num_samples=2, seed=11, sampler=DDIM, states=dict(steps=[0], content=["CONTENT_X_T"]))
    noise = draw(generators(11, 2), reference.shape).numpy()
    for i in range(2):
        assert np.max(np.abs(got.states_of(i)[0] - noise[i])) <= 1e-6


def test_initial_noise_takes_the_place_of_the_first_draw(stub, reference):
    from harness.api import tensor
    from harness.reference import draw, generators

    request = dict(num_samples=2, sampler=DDIM, class_labels=[5])
    drawn = sample(stub, seed=21, **request)
    given = sample(stub, seed=999, initial_noise=tensor(draw(generators(21, 2), reference.shape)), **request)
    np.testing.assert_allclose(given.samples, drawn.samples, atol=1e-4)


@pytest.mark.parametrize("content", BOTH)
def test_only_the_content_asked_for_comes(stub, content):
    got = sample(stub, seed=3, sampler=DDIM, states=dict(every_n_steps=5, content=[content]))
    assert [pb.Content.Name(s.content) for s in got.states] == [content] * 2
    assert all(s.WhichOneof("data") == "tensor" for s in got.states)


def test_no_states_unless_asked_for(stub):
    got = sample(stub, seed=3, sampler=DDIM)
    assert got.kinds == ["accepted", "result"]
    assert not got.result.timing.HasField("first_state")


def test_progress_alone_has_no_data(stub):
    got = sample(stub, seed=3, num_samples=2, sampler=DDIM, states=dict(every_n_steps=2))
    assert sorted((s.sample_index, s.step) for s in got.states) == [(i, k) for i in range(2) for k in (2, 4, 6, 8, 10)]
    assert all(s.WhichOneof("data") is None for s in got.states)
    assert all(s.content == pb.CONTENT_UNSPECIFIED for s in got.states)


def test_pictures_are_the_rounded_values(stub):
    request = dict(num_samples=2, seed=9, sampler=DDIM, class_labels=[8], states=dict(every_n_steps=2, content=BOTH))
    raw = sample(stub, **request)
    request["states"]["encoding"] = "ENCODING_PNG"
    png = sample(stub, encoding="ENCODING_PNG", **request)

    assert len(png.result.pngs) == 2 and not png.result.HasField("samples")
    for i in range(2):
        assert_same_picture(png.result.pngs[i], raw.samples[i, 0])
    raw_states = {(s.sample_index, s.step, s.content): array(s.tensor)[0, 0] for s in raw.states}
    assert len(png.states) == len(raw_states)
    for state in png.states:
        assert state.WhichOneof("data") == "png"
        values = raw_states[state.sample_index, state.step, state.content]
        # Two runs may differ by rounding in the model, so by one level at most where that decides.
        assert np.max(np.abs(picture(state.png) - as_pixels(values))) <= 0.52


def test_predicted_x_0_lies_in_the_clipping_range_and_makes_the_last_step(stub):
    got = sample(stub, seed=2, sampler=DDIM | dict(clip_sample=True), states=dict(every_n_steps=1, content=BOTH))
    predictions = got.states_of(content=pb.CONTENT_PREDICTED_X_0)
    assert all(np.max(np.abs(x)) <= 1 for x in predictions.values())
    # DDIM goes to alpha_bar 1 at the end: x_0 is its own prediction.
    np.testing.assert_allclose(predictions[10], got.samples[0], atol=1e-6)


def test_an_absent_seed_is_chosen_and_said(stub):
    first = sample(stub, sampler=DDIM, num_samples=2)
    second = sample(stub, sampler=DDIM, num_samples=2)
    assert first.accepted.seed != second.accepted.seed
    again = sample(stub, sampler=DDIM, num_samples=2, seed=first.accepted.seed)
    np.testing.assert_allclose(again.samples, first.samples, atol=1e-4)
    assert np.max(np.abs(first.samples - second.samples)) > 0.1


def test_seed_zero_is_a_seed(stub):
    assert sample(stub, sampler=DDIM, seed=0).accepted.seed == 0


@pytest.mark.parametrize("kind", ["KIND_DDIM", "KIND_DDPM"])
def test_sample_i_of_seed_s_is_sample_0_of_seed_s_plus_i(stub, kind):
    request = dict(sampler=dict(kind=kind, steps=12), class_labels=[6])
    together = sample(stub, num_samples=4, seed=40, **request)
    for i in range(4):
        alone = sample(stub, seed=40 + i, **request)
        assert np.max(np.abs(alone.samples[0] - together.samples[i])) <= 1e-4


def test_a_seed_gives_the_same_alone_and_in_company(stub, report):
    requests = [
        dict(
            num_samples=1 + i % 3,
            seed=100 + 10 * i,
            sampler=dict(kind="KIND_DDPM" if i % 2 else "KIND_DDIM", steps=(7, 20, 33, 50)[i % 4]),
            class_labels=[i % 10],
            guidance_scale=(1, 2, 3.5)[i % 3],
        )
        for i in range(11)
    ]
    alone = [sample(stub, **r).samples for r in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        company = [o.samples for o in pool.map(lambda r: sample(stub, **r), requests)]
    worst = max(float(np.max(np.abs(a - b))) for a, b in zip(alone, company, strict=True))
    report("worst difference alone / batched with others", f"{worst:.2g}")
    assert worst <= 1e-4


def test_the_result_says_what_was_spent(stub):
    got = sample(
        stub, num_samples=3, seed=1, sampler=DDIM, class_labels=[1], guidance_scale=2, states=dict(every_n_steps=1)
    )
    assert got.result.denoiser_rows == 3 * 10 * 2
    timing = got.result.timing
    queue, sampling, first, total = (
        getattr(timing, name).ToTimedelta().total_seconds() for name in ("queue", "sampling", "first_state", "total")
    )
    assert queue >= 0 and sampling > 0
    assert queue + sampling <= total + 1e-6
    assert queue < first <= total


def test_defaults_are_the_models(stub):
    model = stub.GetModel(pb.GetModelRequest())
    got = sample(stub, seed=1, class_labels=[3])
    assert got.accepted.total_steps == model.default_steps
    guided = 2 if model.default_guidance_scale not in (0, 1) else 1
    assert got.result.denoiser_rows == model.default_steps * guided
    assert got.samples.shape == (1, *model.sample_shape)


def test_no_label_is_the_null_class(stub):
    model = stub.GetModel(pb.GetModelRequest())
    request = dict(seed=4, sampler=DDIM, guidance_scale=1)
    none = sample(stub, **request)
    null = sample(stub, class_labels=[model.null_class], **request)
    np.testing.assert_allclose(none.samples, null.samples, atol=1e-4)
    seven = sample(stub, class_labels=[7], **request)
    assert np.max(np.abs(none.samples - seven.samples)) > 0.1
