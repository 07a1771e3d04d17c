"""Callers that open connections, and what they do with them to keep others out."""

import contextlib
import itertools
import socket
import threading

import pytest

from harness.api import CALL_TIMEOUT, SAMPLE, sample
from harness.http2 import (
    ACK,
    CANCEL,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    OPENING,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call_headers,
    frame,
    frames,
)
from harness.paths import DIGITS
from harness.server import ONE_ENGINE
from harness.waiting import PATIENCE, eventually

BRIEF = dict(seed=1, sampler=dict(kind="KIND_DDIM", steps=2))


@contextlib.contextmanager
def connections():
    """open(address, said, source): a connection, closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(address: str, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
            host, port = address.rsplit(":", 1)
            made = socket.create_connection((host, int(port)), 20 * PATIENCE, (source, 0))
            stack.enter_context(made)
            with contextlib.suppress(ConnectionError):  # it may be closed already
                made.sendall(said)
            return made

        yield connect


@pytest.fixture
def open_():
    with connections() as connect:
        yield connect


def assert_serves(server) -> None:
    """Those who have not called before."""
    assert sample(server.new_stub(), timeout=CALL_TIMEOUT, **BRIEF).result


def refused(server, reason: str, port: str = "grpc") -> float:
    return server.metric("connections_refused_total", port=port, reason=reason)


def until_open(server, count: int) -> None:
    server.until(lambda m: m.total("connections", port="grpc") == count, what=f"{count} connections are open")


# --- descriptors


def with_descriptors(soft: int, hard: int) -> dict:
    return dict(prefix=("prlimit", f"--nofile={soft}:{hard}"))


@pytest.mark.parametrize("said", [b"", PREFACE[:10], OPENING], ids=["silent", "half a preface", "idle"])
def test_more_connections_than_descriptors_and_then_none(start_server, said):
    """gRPC's own listener would hear nothing any more (CVE-2023-4785)."""
    server = start_server(*ONE_ENGINE, **with_descriptors(256, 256))
    with connections() as connect:
        for _ in range(300):
            connect(server.address, said)
        if said != OPENING:
            assert_serves(server)  # who says nothing keeps nobody out
    assert_serves(server)
    assert server.metric("connections_max", port="grpc") == 128
    assert "allow 128" in server.stderr
    assert refused(server, "no_descriptor") == 0


def test_the_limit_of_descriptors_is_raised(start_server):
    server = start_server(*ONE_ENGINE, **with_descriptors(150, 300))
    assert {s.value for s in server.metrics().families["process_max_fds"].samples} == {300}
    assert server.metric("connections_max", port="grpc") == 172


def test_too_few_descriptors_are_told_so(start_process):
    process = start_process("--model", str(DIGITS), **with_descriptors(100, 100))
    assert process.wait() == 65
    assert "ulimit -n" in process.stderr


# --- limits


@pytest.fixture(scope="module")
def strict(start_shared_server):
    return start_shared_server(
        *ONE_ENGINE,
        "--max-connections",
        "100",
        "--max-connections-per-address",
        "20",
        "--handshake-timeout",
        "1s",
        "--max-calls-per-connection",
        "7",
        "--max-connection-idle",
        "1s",
        "--min-ping-interval",
        "1h",
    )


def test_a_flood_from_one_address_leaves_others_served(strict, open_):
    before = refused(strict, "too_many_of_address")
    flood = [open_(strict.address, OPENING, "127.0.0.2") for _ in range(200)]
    assert_serves(strict)
    assert refused(strict, "too_many_of_address") - before >= 180
    for connection in flood:
        connection.close()
    until_open(strict, 1)  # the one of assert_serves


def test_silence_is_not_waited_for_longer_than_the_handshake_may_take(strict, open_):
    for said in (b"", PREFACE[:10], PREFACE):
        for _ in frames(open_(strict.address, said)):
            pass  # until the server closes it


def test_an_idle_connection_is_told_to_go(strict, open_):
    got = list(frames(open_(strict.address, OPENING + frame(SETTINGS, ACK))))
    assert got[0].settings()[MAX_CONCURRENT_STREAMS] == 7
    assert GOAWAY in [f.type for f in got]


def test_pings_without_end_are_cut_off(strict, open_):
    connection = open_(strict.address, OPENING + frame(SETTINGS, ACK))
    with contextlib.suppress(ConnectionError):
        for i in range(20):
            connection.sendall(frame(PING, payload=i.to_bytes(8, "big")))
    codes = [f.goaway_code() for f in frames(connection) if f.type == GOAWAY]
    assert ENHANCE_YOUR_CALM in codes


def test_callers_connect_anew_when_a_connection_is_old(start_server, open_):
    server = start_server(*ONE_ENGINE, "--max-connection-age", "1s", "--max-connection-age-grace", "1s")
    stub = server.new_stub()
    # A call that outlives both is cut off, one that is made meanwhile notices nothing.
    old = open_(
        server.address,
        OPENING + frame(SETTINGS, ACK) + frame(HEADERS, END_HEADERS, 1, call_headers("/grpc.health.v1.Health/Watch")),
    )
    gone = threading.Event()

    def read():
        got.extend(frames(old))
        gone.set()

    got = []
    reader = threading.Thread(target=read)
    reader.start()
    calls = 0
    while not gone.is_set():
        assert sample(stub, timeout=CALL_TIMEOUT, **BRIEF).result
        calls += 1
    reader.join()
    assert GOAWAY in [f.type for f in got]
    assert calls > 1


# --- abuse of one connection


def test_calls_that_are_reset_at_once(server, open_, report):
    """Rapid reset (CVE-2023-44487): no limit on calls at once is ever reached."""
    count = 20_000
    headers = call_headers(SAMPLE)
    before = server.rss_bytes()
    connection = open_(server.address, OPENING)
    reader = threading.Thread(target=lambda: list(frames(connection)))
    reader.start()

    def abuse():
        with contextlib.suppress(OSError):
            for stream in range(1, 2 * count, 2):
                connection.sendall(
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, headers)
                    + frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
                )

    abuser = threading.Thread(target=abuse)
    abuser.start()
    served = 0
    while abuser.is_alive():
        assert_serves(server)
        served += 1
    connection.shutdown(socket.SHUT_RDWR)
    reader.join()
    abuser.join()
    report("callers served beside 20,000 resets", served)
    report("memory that they took", f"{(server.rss_bytes() - before) >> 20} MiB")
    eventually(lambda: server.rss_bytes() - before < 64 << 20, within=30, what="it is given back")


# --- metrics


def test_scrapes_are_answered_beside_silent_and_slow_connections(server, open_):
    for said in (b"", b"G", b"GET /metrics HTTP/1.1\r\nX-Slow: "):
        for _ in range(40):
            open_(server.metrics_address, said)
        assert server.metrics().families  # Metrics.scrape waits 10 s at most
    for _ in range(40):
        open_(server.metrics_address, b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "127.0.0.2")
    assert server.metrics().families


def test_header_fields_without_end_are_cut_off(server, open_):
    connection = open_(server.metrics_address, b"GET /metrics HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        for i in itertools.count():
            connection.sendall(b"X-Field-%d: 1\r\n" % i)
            assert i < 1_000_000
