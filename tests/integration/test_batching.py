"""How rows share denoiser calls, and that every one of them is counted."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.api import sample
from harness.server import ONE_ENGINE

STEPS = (10, 20, 50, 100)


def requests() -> list[dict]:
    return [
        dict(
            seed=i,
            num_samples=1 + i % 2,
            class_labels=[i % 10],
            guidance_scale=2 if i % 4 == 0 else 1,
            sampler=dict(kind="KIND_DDIM" if i % 3 else "KIND_DDPM", steps=STEPS[i % 4]),
        )
        for i in range(16)
    ]


def rows_of(request: dict) -> int:
    guided = 2 if request["guidance_scale"] == 2 else 1
    return request["num_samples"] * request["sampler"]["steps"] * guided


def run_together(server, wanted: list[dict]) -> list[np.ndarray]:
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda r: sample(server.stub, **r), wanted))
    for request, answer in zip(wanted, answers, strict=True):
        assert answer.result.denoiser_rows == rows_of(request)
    return [a.samples for a in answers]


class Counted:
    """What a server's counters gained in between."""

    def __init__(self, server):
        self.server = server
        self.before = server.metrics()

    def __call__(self, name: str, **labels: str) -> float:
        return self.server.metric(name, **labels) - self.before.total(name, **labels)

    def largest_batch(self) -> float:
        """A bound of it: the bucket in which it lies."""
        now, before = self.server.metrics().buckets("batch_rows"), self.before.buckets("batch_rows")
        total = now[np.inf] - before[np.inf]
        return next(b for b, n in now.items() if n - before.get(b, 0) == total)


def test_sixteen_clients_share_calls_and_all_rows_are_counted(server, report):
    wanted = requests()
    counted = Counted(server)
    run_together(server, wanted)
    server.until_counted(len(wanted), counted.before, model="digits", code="OK")

    rows = sum(map(rows_of, wanted))
    calls = counted("batch_rows_count")
    assert counted("rows_total", model="digits") == rows
    assert counted("batch_rows_sum") == rows
    mean = rows / calls
    report("mean batch of 16 clients", f"{mean:.1f} rows, {counted('padding_rows_total'):g} padding")
    assert mean > 2
    assert counted("padding_rows_total") >= 0
    assert counted("tick_seconds_count") >= calls
    assert counted("denoiser_seconds_count") == calls
    assert counted("queue_seconds_count") == len(wanted)


def test_one_chain_alone_is_one_row_a_call(server):
    counted = Counted(server)
    sample(server.stub, seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=10))
    server.until_idle()
    assert counted("batch_rows_count") == 10
    assert counted("batch_rows_sum") == 10


def test_the_rows_of_a_guided_chain_go_together(server):
    counted = Counted(server)
    sample(server.stub, seed=1, guidance_scale=2, class_labels=[1], sampler=dict(kind="KIND_DDIM", steps=10))
    server.until_idle()
    assert counted("batch_rows_count") == 10
    assert counted("batch_rows_sum") == 20


def test_padding_is_counted(start_server):
    """With batches of 4 and 8 alone, a chain by itself is padded with three rows."""
    server = start_server("--batch-sizes", "4,8", *ONE_ENGINE)
    sample(server.stub, seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=10))
    metrics = server.until_idle()
    assert metrics.total("batch_rows_sum") == 10
    assert metrics.total("padding_rows_total") == 30


@pytest.fixture(scope="module")
def without_batching(start_shared_server):
    return start_shared_server("--batching", "none")


@pytest.mark.parametrize("batching", ["request", "none"])
def test_other_ways_of_batching_give_the_same_samples(server, start_server, without_batching, batching, report):
    wanted = requests()
    expected = run_together(server, wanted)
    other = without_batching if batching == "none" else start_server("--batching", batching)
    counted = Counted(other)

    got = run_together(other, wanted)

    other.until_idle()
    for a, b in zip(got, expected, strict=True):
        assert np.max(np.abs(a - b)) <= 1e-4
    assert counted("rows_total") == sum(map(rows_of, wanted))
    largest = counted.largest_batch()
    mean = counted("batch_rows_sum") / counted("batch_rows_count")
    report(f"mean batch with --batching {batching}", f"{mean:.1f} (at most {largest:g})")
    if batching == "none":
        assert largest <= 2, "one chain a call: a row, or the two of a guided one"
    else:
        assert mean > 1


def test_without_batching_an_unguided_chain_is_one_row_a_call(without_batching):
    server = without_batching
    wanted = [r | {"guidance_scale": 1} for r in requests()]
    counted = Counted(server)
    run_together(server, wanted)
    server.until_idle()
    assert counted("batch_rows_count") == counted("batch_rows_sum")


def test_more_chains_than_fit_a_batch(server):
    """64 samples at once: the order within the answer stays that of the seeds."""
    request = dict(class_labels=[5], guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=5))
    many = sample(server.stub, num_samples=64, seed=300, **request).samples
    for i in (0, 17, 63):
        alone = sample(server.stub, seed=300 + i, **request).samples
        assert np.max(np.abs(alone[0] - many[i])) <= 1e-4
