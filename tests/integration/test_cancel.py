"""Cancelling at any moment, and in any number."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from harness.api import CALL_TIMEOUT, Outcome, next_of, pb, sample
from harness.server import ONE_ENGINE


def long_request(seed: int = 1, n: int = 1, **changes) -> pb.SampleRequest:
    fields = dict(
        num_samples=n,
        seed=seed,
        class_labels=[seed % 10],
        guidance_scale=1 + seed % 2,
        sampler=dict(kind="KIND_DDPM" if seed % 3 else "KIND_DDIM", steps=1000),
        states=dict(every_n_steps=1, content=["CONTENT_X_T"]),
    )
    return pb.SampleRequest(**fields | changes)


def assert_cancelled(stream) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(stream)
    assert error.value.code() == grpc.StatusCode.CANCELLED


def test_while_sampling(server):
    before = server.metrics()
    stream = server.stub.Sample(long_request(n=4), timeout=CALL_TIMEOUT)
    assert next_of(stream, "state").step >= 1
    stream.cancel()
    assert_cancelled(stream)
    server.until_idle(within=2)
    after = server.until_counted(1, before, code="CANCELLED")
    assert after.total("rows_total") - before.total("rows_total") < 4 * 1000
    assert after.total("requests_total", code="OK") == before.total("requests_total", code="OK")


def test_while_queued(start_server):
    server = start_server("--max-active", "1", *ONE_ENGINE)
    running = server.stub.Sample(long_request(guidance_scale=1), timeout=CALL_TIMEOUT)
    server.until_busy()
    queued = server.stub.Sample(long_request(seed=2, n=3), timeout=CALL_TIMEOUT)
    assert next_of(queued, "accepted").seed == 2
    server.until(lambda m: m.total("requests_waiting") == 1)

    queued.cancel()

    server.until(lambda m: m.total("requests_waiting") == 0 and m.total("chains_active") == 1)
    got = Outcome.of(running)
    assert got.result.denoiser_rows == 1000
    server.until_idle()
    assert server.metric("rows_total") == 1000, "no row of the cancelled one was run"


def test_partly_queued_and_partly_running(start_server):
    server = start_server("--max-active", "2", *ONE_ENGINE)
    stream = server.stub.Sample(long_request(n=5), timeout=CALL_TIMEOUT)
    server.until(lambda m: m.total("requests_waiting") == 1 and m.total("chains_active") == 2)
    stream.cancel()
    assert_cancelled(stream)
    server.until_idle(within=2)


def test_after_the_end(server):
    stream = server.stub.Sample(pb.SampleRequest(seed=1, sampler=dict(steps=3)), timeout=CALL_TIMEOUT)
    assert Outcome.of(stream).result
    assert stream.cancel() is False


def test_at_the_last_step(server):
    """The cancel races the Result: either wins, and nothing is left behind."""
    ends = set()
    for seed in range(20):
        stream = server.stub.Sample(
            pb.SampleRequest(
                seed=seed, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=6), states=dict(every_n_steps=1)
            ),
            timeout=CALL_TIMEOUT,
        )
        try:
            for event in stream:
                if event.WhichOneof("event") == "state" and event.state.step >= 5:
                    stream.cancel()
            ends.add(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            ends.add(error.code())
    assert ends <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
    server.until_idle(within=2)


def test_diffuse(server):
    from harness.api import tensor

    stream = server.stub.Diffuse(
        pb.DiffuseRequest(x_0=tensor(np.zeros((16, 1, 28, 28))), timesteps=range(1000), chain=True, seed=1),
        timeout=CALL_TIMEOUT,
    )
    next_of(stream, "state")
    stream.cancel()
    assert_cancelled(stream)
    server.until_idle(within=2)


class GoodClient:
    """Samples the same again and again beside others, and knows what it must get."""

    def __init__(self, server):
        self.request = dict(
            num_samples=2, seed=4242, class_labels=[7], guidance_scale=2, sampler=dict(kind="KIND_DDPM", steps=25)
        )
        self.stub = server.new_stub()
        self.expected = sample(self.stub, **self.request).samples
        self.worst = 0.0
        self.rounds = 0
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._stop.is_set():
                got = sample(self.stub, **self.request).samples
                self.worst = max(self.worst, float(np.max(np.abs(got - self.expected))))
                self.rounds += 1
        except Exception as error:  # reported by __exit__
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(CALL_TIMEOUT)
        if kind is None:
            assert self.error is None, self.error
            assert self.rounds > 0
            assert self.worst <= 1e-4


def cancel_storm(server, count: int) -> None:
    """`count` requests from 16 connections, each cancelled at another moment: before anything was
    read, after Accepted, and after 1 to 28 states."""
    numbers = itertools.count()

    def work(stub):
        while (number := next(numbers)) < count:
            stream = stub.Sample(long_request(number, n=1 + number % 3), timeout=CALL_TIMEOUT)
            for _ in range(number * 7 % 30):
                next(stream)
            stream.cancel()
            try:
                list(stream)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.CANCELLED, error

    stubs = [server.new_stub() for _ in range(16)]
    with ThreadPoolExecutor(len(stubs)) as pool:
        list(pool.map(work, stubs))
    server.until_idle(within=20)


@pytest.mark.parametrize(
    "count",
    [
        200,
        pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_storm_of_cancels(start_server, count, report):
    """Memory is compared with what a first storm has left it at: the allocator keeps what it once
    had, so only growth from storm to storm is a leak."""
    server = start_server()
    with GoodClient(server) as good:
        cancel_storm(server, 100)
        before, threads, files = server.rss_bytes(), server.threads(), server.open_files()
        cancel_storm(server, count)
        report(f"good client beside {count} cancels", f"{good.rounds} rounds, worst {good.worst:.2g}")
    server.until_idle()
    grown = server.rss_bytes() - before
    report(f"RSS growth over {count} cancels", f"{grown / 2**20:.1f} MiB of {before / 2**20:.0f}")
    assert grown < 16 << 20
    assert server.threads() <= threads + 4
    assert server.open_files() <= files + 20  # the second storm's connections are still open
    assert server.metric("requests_waiting") == 0
    assert server.metric("chains_failed_total") == 0
