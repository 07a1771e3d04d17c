"""Deadlines, and a queue that is full."""

import time

import grpc
import pytest

from harness.api import CALL_TIMEOUT, Outcome, next_of, pb, sample
from harness.errors import DOMAIN, failing
from harness.server import ONE_ENGINE


def request(steps: int = 1000, n: int = 1, **changes) -> pb.SampleRequest:
    fields = dict(num_samples=n, seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=steps))
    return pb.SampleRequest(**fields | changes)


@pytest.fixture(scope="module")
def narrow_server(start_shared_server):
    return start_shared_server("--max-active", "1", "--max-waiting", "1", "--max-priority", "100", *ONE_ENGINE)


@pytest.fixture
def narrow(narrow_server):
    """A server that runs one chain and lets one request wait."""
    yield narrow_server
    narrow_server.until_idle()


@pytest.fixture(scope="module")
def one_at_a_time_server(start_shared_server):
    return start_shared_server("--max-active", "1", *ONE_ENGINE)


@pytest.fixture
def one_at_a_time(one_at_a_time_server):
    """A server that runs one chain and lets the others wait."""
    yield one_at_a_time_server
    one_at_a_time_server.until_idle()


def test_a_deadline_that_passes_in_the_queue_costs_no_row(narrow):
    before = narrow.metrics()
    running = narrow.stub.Sample(request(), timeout=CALL_TIMEOUT)
    narrow.until_busy()

    # Urgent, so that it could be met had it a slot.
    failure = failing(narrow.stub.Sample, request(steps=10, priority=1), timeout=0.3)

    assert failure.code == grpc.StatusCode.DEADLINE_EXCEEDED
    metrics = narrow.until(lambda m: m.total("requests_waiting") == 0)
    assert metrics.total("chains_active") == 1, "the other one still runs"
    assert Outcome.of(running).result.denoiser_rows == 1000
    narrow.until_counted(1, before, code="OK")
    metrics = narrow.until_counted(1, before, code="DEADLINE_EXCEEDED")
    assert metrics.total("rows_total") - before.total("rows_total") == 1000


def test_a_deadline_that_cannot_be_met_is_refused_at_once(server):
    before = server.metrics()
    failure = failing(server.stub.Sample, request(n=64), timeout=0.5)
    assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.reason == "DEADLINE_UNREACHABLE"
    assert failure.retry_seconds > 0
    assert server.metrics().total("rows_total") == before.total("rows_total")


def test_a_deadline_that_passes_while_active_frees_the_chains(server):
    before = server.metrics()
    # They fill every batch, so that what is less urgent is active and gets no turn. With time
    # enough to be taken in also where the machine was found slow.
    running = [server.stub.Sample(request(n=64), timeout=20 * CALL_TIMEOUT) for _ in range(2)]
    try:
        server.until(lambda m: m.total("chains_active") == 128)
        failure = failing(server.stub.Sample, request(steps=10, n=4, priority=-1), timeout=0.5)
        assert failure.code == grpc.StatusCode.DEADLINE_EXCEEDED
        server.until(lambda m: m.total("chains_active") == 128)
        server.until_counted(1, before, code="DEADLINE_EXCEEDED")
    finally:
        for call in running:
            call.cancel()
    server.until_idle(within=2)


def test_a_full_queue_says_so_at_once_and_when_to_come_back(narrow):
    rejected = narrow.metric("requests_rejected_total", reason="queue_full")
    running = narrow.stub.Sample(request(), timeout=CALL_TIMEOUT)
    narrow.until_busy()
    waiting = narrow.stub.Sample(request(n=2), timeout=CALL_TIMEOUT)
    accepted = next_of(waiting, "accepted")
    assert accepted.queue_position == 0

    start = time.monotonic()
    failure = failing(narrow.stub.Sample, request(), timeout=CALL_TIMEOUT)

    assert time.monotonic() - start < 1
    assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (failure.reason, failure.domain) == ("QUEUE_FULL", DOMAIN)
    assert failure.retry_seconds > 0
    assert narrow.metric("requests_rejected_total", reason="queue_full") == rejected + 1

    running.cancel()
    waiting.cancel()
    narrow.until_idle()
    assert sample(narrow.stub, seed=1, sampler=dict(steps=2)).result, "and takes requests again"


def test_who_would_wait_too_long_is_refused_by_what_goes_before_it(start_server):
    server = start_server(
        "--max-backlog", "1s", "--policy", "fair", "--tenant-by", "metadata", "--batch-sizes", "1,2,4,8", *ONE_ENGINE
    )
    greedy, modest = (dict(timeout=CALL_TIMEOUT, metadata=[("denoise-tenant", name)]) for name in ("greedy", "modest"))
    running = server.stub.Sample(request(n=16), **greedy)
    next_of(running, "accepted")

    failure = failing(server.stub.Sample, request(steps=2), **greedy)

    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert "what goes before this request takes" in failure.message
    assert "no more than 1s may" in failure.message
    assert failure.retry_seconds > 0
    assert Outcome.of(server.stub.Sample(request(steps=2), **modest)).result.denoiser_rows == 2, (
        "before the greedy one's"
    )
    running.cancel()
    server.until_idle()
    assert Outcome.of(server.stub.Sample(request(steps=2), **greedy)).result


def test_accepted_tells_how_many_are_before_it_and_how_long_it_will_take(one_at_a_time):
    server = one_at_a_time
    streams = [server.stub.Sample(request(), timeout=CALL_TIMEOUT)]
    server.until_busy()
    accepted = []
    for _ in range(3):
        streams.append(server.stub.Sample(request(), timeout=CALL_TIMEOUT))
        accepted.append(next_of(streams[-1], "accepted"))
    assert [a.queue_position for a in accepted] == [0, 1, 2]
    waits = [a.estimated_wait.ToTimedelta().total_seconds() for a in accepted]
    assert 0 < waits[0] < waits[1] < waits[2] < 60, waits
    for stream in streams:
        stream.cancel()


def test_requests_leave_the_queue_in_the_order_in_which_they_came(one_at_a_time):
    server = one_at_a_time
    first = server.stub.Sample(request(steps=300), timeout=CALL_TIMEOUT)
    server.until_busy()
    streams = []
    for i in range(5):
        streams.append(server.stub.Sample(request(steps=20 * (5 - i)), timeout=CALL_TIMEOUT))
        next_of(streams[-1], "accepted")
    Outcome.of(first)
    queued = [next_of(s, "result").timing.queue.ToTimedelta().total_seconds() for s in streams]
    assert queued == sorted(queued)


def test_more_samples_than_may_run_at_once(narrow):
    """They wait for each other, and the answer is whole."""
    got = sample(narrow.stub, num_samples=5, seed=3, sampler=dict(steps=4), guidance_scale=1)
    assert got.samples.shape[0] == 5
    assert got.result.denoiser_rows == 20
