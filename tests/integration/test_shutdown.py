"""SIGTERM: what is told to whom, in which order, and that the server ends well."""

import signal
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.api import CALL_TIMEOUT, Outcome, next_of, pb
from harness.errors import DOMAIN, failing
from harness.paths import DIGITS
from harness.server import ONE_ENGINE
from harness.waiting import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def request(steps: int = 1000, n: int = 1, **changes) -> pb.SampleRequest:
    fields = dict(
        num_samples=n,
        seed=1,
        guidance_scale=1,
        sampler=dict(kind="KIND_DDIM", steps=steps),
        states=dict(every_n_steps=100),
    )
    return pb.SampleRequest(**fields | changes)


def test_running_requests_finish_and_new_ones_are_turned_away(start_server):
    server = start_server()
    health = health_pb2_grpc.HealthStub(server.channel)
    watches = {
        name: health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=CALL_TIMEOUT) for name in ("", "digits")
    }
    for watch in watches.values():
        assert next(watch).status == SERVING
    running = server.stub.Sample(request(steps=300, n=4), timeout=CALL_TIMEOUT)
    next_of(running, "state")

    server.signal(signal.SIGTERM)

    for name, watch in watches.items():
        assert next(watch).status == NOT_SERVING, f"the watcher of {name!r} is told first"
    failure = failing(server.stub.Sample, request(), timeout=10)
    assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
    assert (failure.reason, failure.domain) == ("DRAINING", DOMAIN)
    assert failure.retry_seconds > 0
    got = Outcome.of(running)
    assert got.result.denoiser_rows == 4 * 300
    assert server.wait(within=10) == 0


def test_queued_requests_finish_too(start_server):
    server = start_server("--max-active", "1", *ONE_ENGINE)
    streams = [server.stub.Sample(request(steps=100), timeout=CALL_TIMEOUT) for _ in range(3)]
    for stream in streams:
        next_of(stream, "accepted")
    server.signal(signal.SIGTERM)
    for stream in streams:
        assert Outcome.of(stream).result.denoiser_rows == 100
    assert server.wait(within=10) == 0


def test_an_idle_server_ends_at_once(start_server):
    server = start_server()
    server.signal(signal.SIGTERM)
    assert server.wait(within=5) == 0


def test_sigint_is_the_same(start_server):
    server = start_server()
    server.signal(signal.SIGINT)
    assert server.wait(within=5) == 0


@pytest.mark.parametrize("ended_by", ["the grace", "a second SIGTERM"])
def test_what_does_not_finish_in_time_is_told_so(start_server, ended_by):
    grace = "500ms" if ended_by == "the grace" else "60s"
    server = start_server("--drain-grace", grace)
    running = server.stub.Sample(request(n=64, states=dict(every_n_steps=1)))
    next_of(running, "state")

    server.signal(signal.SIGTERM)
    if ended_by == "a second SIGTERM":
        # The first has been seen once the server turns others away.
        eventually(lambda: failing(server.stub.Sample, request(), timeout=1).reason == "DRAINING")
        server.signal(signal.SIGTERM)

    failure = failing(lambda: running)
    assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
    assert failure.domain == DOMAIN and failure.retry_seconds > 0
    assert server.wait(within=10) == 0


def test_a_reader_that_does_not_read_cannot_hold_the_server_up(start_server):
    server = start_server("--drain-grace", "1s")
    stream = server.new_stub(**{"grpc.http2.bdp_probe": 0}).Sample(
        request(n=64, states=dict(every_n_steps=1, content=["CONTENT_X_T"]))
    )
    server.until(lambda m: m.total("rows_total") > 64 * 10, within=30)  # 2 MB of states
    server.signal(signal.SIGTERM)
    assert server.wait(within=10) == 0
    stream.cancel()


def test_sigterm_while_loading(start_process):
    process = start_process("--model", str(DIGITS), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
    eventually(process.blocks_sigterm, what="signals are waited for")
    process.signal(signal.SIGTERM)
    assert process.wait(within=20) == 0


def test_many_clients_at_work_while_the_server_goes(start_server):
    """Every call ends, in one of the ways that make sense."""
    server = start_server("--drain-grace", "300ms")
    codes = []

    def work(i: int):
        stub = server.new_stub()
        while True:
            try:
                Outcome.of(stub.Sample(request(steps=20 + i, n=2), timeout=CALL_TIMEOUT))
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())
                return

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(16)]
    for thread in threads:
        thread.start()
    eventually(lambda: codes.count(grpc.StatusCode.OK) >= 16, within=30)
    server.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(CALL_TIMEOUT)
        assert not thread.is_alive()
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert server.wait(within=10) == 0
