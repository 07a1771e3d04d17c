"""Diffuse: the forward process, as jumps and as a chain."""

import time

import numpy as np
import pytest

from harness.api import CALL_TIMEOUT, Outcome, array, diffuse, pb, sample, tensor
from harness.reference import draw, generators


@pytest.fixture(scope="module")
def x_0(digits_server):
    """Real samples, [4, 1, 28, 28]."""
    return sample(
        digits_server.stub,
        num_samples=4,
        seed=1,
        class_labels=[0, 1, 2, 3],
        sampler=dict(kind="KIND_DDIM", steps=20, clip_sample=True),
    ).samples


def test_what_the_server_sampled_can_be_diffused(stub):
    """Samplers that do not clip end a little outside of the model's range."""
    samples = sample(
        stub,
        num_samples=8,
        seed=30,
        class_labels=[8],
        guidance_scale=3,
        sampler=dict(kind="KIND_DDIM", steps=10, clip_sample=False),
    ).samples
    assert np.max(np.abs(samples)) > 1.02, "else this shows nothing"
    assert len(diffuse(stub, x_0=tensor(samples), timesteps=[100]).states) == 8


def by_time(outcome: Outcome, sample_index: int) -> dict[int, np.ndarray]:
    return {int(s.timestep): array(s.tensor)[0] for s in outcome.states if s.sample_index == sample_index}


@pytest.mark.parametrize("chain", [False, True])
def test_accepted_then_every_state_in_order(stub, x_0, reference, chain):
    times = [0, 10, 500, 999]
    got = diffuse(stub, x_0=tensor(x_0), seed=3, timesteps=times, chain=chain)
    assert got.kinds == ["accepted"] + ["state"] * (4 * len(times))
    assert list(got.accepted.timesteps) == times
    np.testing.assert_allclose(got.accepted.alpha_bars, reference.alpha_bars[times], rtol=1e-5)
    assert got.accepted.seed == 3
    for i in range(4):
        mine = [s for s in got.states if s.sample_index == i]
        assert [s.timestep for s in mine] == times
        assert [s.step for s in mine] == [1, 2, 3, 4]
        for s in mine:
            assert s.alpha_bar == pytest.approx(reference.alpha_bars[int(s.timestep)], rel=1e-5)
            assert s.content == pb.CONTENT_X_T


def test_jumps_are_alpha_x_0_plus_sigma_z(stub, x_0, reference):
    times = [0, 1, 99, 400, 999]
    got = diffuse(stub, x_0=tensor(x_0), seed=17, timesteps=times)
    streams = generators(17, len(x_0))
    for t in times:
        z = draw(streams, reference.shape).numpy().astype(np.float64)
        alpha_bar = reference.alpha_bars[t]
        expected = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * z
        for i in range(len(x_0)):
            assert np.max(np.abs(by_time(got, i)[t] - expected[i])) <= 2e-6


def test_a_chain_is_its_transitions_one_by_one(stub, x_0, reference):
    times = [0, 3, 40, 200]
    got = diffuse(stub, x_0=tensor(x_0), seed=23, timesteps=times, chain=True)
    betas = 1 - reference.alpha_bars / np.concatenate([[1.0], reference.alpha_bars[:-1]])
    streams = generators(23, len(x_0))
    x = x_0.astype(np.float64)
    for t in range(times[-1] + 1):
        z = draw(streams, reference.shape).numpy()
        x = np.sqrt(1 - betas[t]) * x + np.sqrt(betas[t]) * z
        if t in times:
            for i in range(len(x_0)):
                assert np.max(np.abs(by_time(got, i)[t] - x[i])) <= 2e-5


@pytest.mark.parametrize("chain", [False, True])
def test_noise_has_the_variance_of_the_forward_process(stub, x_0, reference, chain):
    """x_t - α_t x_0 has variance σ_t² over 64·784 elements: known within 0.7 % (one deviation)."""
    clean = np.repeat(x_0, 16, axis=0)
    times = [20, 300, 999]
    got = diffuse(stub, x_0=tensor(clean), seed=900, timesteps=times, chain=chain)
    for t in times:
        x_t = np.stack([by_time(got, i)[t] for i in range(len(clean))]).astype(np.float64)
        alpha_bar = reference.alpha_bars[t]
        noise = x_t - np.sqrt(alpha_bar) * clean
        assert np.mean(noise**2) == pytest.approx(1 - alpha_bar, rel=0.03)
        assert abs(np.mean(noise)) <= 5 * np.sqrt((1 - alpha_bar) / noise.size)


def test_states_of_a_chain_belong_together_and_those_of_jumps_do_not(stub, x_0, reference):
    times = [400, 401]
    correlation = {}
    for chain in (False, True):
        got = by_time(diffuse(stub, x_0=tensor(x_0[:1]), seed=5, timesteps=times, chain=chain), 0)
        a, b = (got[t] - np.sqrt(reference.alpha_bars[t]) * x_0[0] for t in times)
        correlation[chain] = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert correlation[True] > 0.95
    assert abs(correlation[False]) < 0.2


def test_an_absent_seed_is_chosen_and_said(stub, x_0):
    first = diffuse(stub, x_0=tensor(x_0), timesteps=[500])
    again = diffuse(stub, x_0=tensor(x_0), timesteps=[500], seed=first.accepted.seed)
    assert np.array_equal(by_time(first, 0)[500], by_time(again, 0)[500])
    other = diffuse(stub, x_0=tensor(x_0), timesteps=[500])
    assert other.accepted.seed != first.accepted.seed


def test_pictures(stub, x_0):
    import io

    from PIL import Image

    request = dict(x_0=tensor(x_0[:1]), timesteps=[50], seed=1)
    raw = array(diffuse(stub, **request).states[0].tensor)[0, 0]
    png = diffuse(stub, encoding="ENCODING_PNG", **request).states[0].png
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert np.max(np.abs(pixels - np.clip((raw + 1) / 2, 0, 1) * 255)) <= 0.501


@pytest.mark.parametrize("chain", [False, True])
def test_a_slow_reader_gets_every_state(server, x_0, chain):
    """40 MB of states, through a connection that takes little at a time, to a reader that is slower
    than the server all along."""
    stub = server.new_stub(**{"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536})
    clean = np.repeat(x_0, 4, axis=0)
    times = list(range(0, 1000, 4))
    stream = stub.Diffuse(
        pb.DiffuseRequest(x_0=tensor(clean), seed=7, timesteps=times, chain=chain), timeout=CALL_TIMEOUT
    )
    got = Outcome()
    for i, event in enumerate(stream):
        got.add(event)
        if i % 100 == 0:
            time.sleep(0.02)  # the reader's slowness itself, not a wait for anything
    assert len(got.states) == len(clean) * len(times)
    for i in range(len(clean)):
        assert [int(s.timestep) for s in got.states if s.sample_index == i] == times
