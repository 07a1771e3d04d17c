"""Bytes that are no requests, and requests that are too large."""

import random
import socket

import grpc
import numpy as np
import pytest

from harness.api import DIFFUSE, SAMPLE, pb, sample, tensor
from harness.errors import failing


def host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


def assert_serves(server) -> None:
    assert server.running, server.stderr
    assert sample(server.stub, seed=1, sampler=dict(steps=2), timeout=20).result


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GARBAGE = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "random bytes": random.Random(1).randbytes(4096),
    "zeros": bytes(4096),
    "preface, then garbage": PREFACE + random.Random(2).randbytes(4096),
    "half a preface": PREFACE[:10],
    "an endless header": PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\xff\xff\x01",
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("port", ["grpc", "metrics"])
def test_garbage_on_the_ports(server, kind, port):
    address = server.address if port == "grpc" else server.metrics_address
    for _ in range(3):
        with socket.create_connection(host_and_port(address), timeout=5) as connection:
            try:
                connection.sendall(GARBAGE[kind])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass  # closing is as good as answering
    assert_serves(server)
    assert server.metrics().families


def test_connections_that_say_nothing_hold_nobody_up(server):
    connections = [socket.create_connection(host_and_port(server.address)) for _ in range(100)]
    connections += [socket.create_connection(host_and_port(server.metrics_address)) for _ in range(1)]
    try:
        for connection in connections:
            connection.sendall(b"P")
        assert_serves(server)
    finally:
        for connection in connections:
            connection.close()


def raw_call(server, method: str, request: bytes):
    call = server.channel.unary_stream(method, lambda raw: raw, lambda raw: raw)
    return failing(call, request, timeout=20)


@pytest.mark.parametrize("method", [SAMPLE, DIFFUSE])
def test_bytes_that_are_no_message(server, method):
    source = random.Random(3)
    good = pb.SampleRequest(seed=1, initial_noise=tensor(np.zeros((1, 1, 28, 28))))
    whole = good.SerializeToString()
    # A field that announces more than there is; a group that never ends; truncations.
    broken = [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, whole[:-1], whole[: len(whole) // 2]]
    broken += [b"\xff" + source.randbytes(64) for _ in range(20)]
    for request in broken:
        failure = raw_call(server, method, request)
        assert failure.code == grpc.StatusCode.INVALID_ARGUMENT, (request[:20], failure)
        assert failure.reason in ("MESSAGE_REFUSED", "INVALID_FIELD")
    assert_serves(server)


@pytest.mark.parametrize("method", [SAMPLE, DIFFUSE])
def test_text_that_is_not_utf_8(server, method):
    name = b"digits\xff\xfe"
    failure = raw_call(server, method, b"\x0a" + bytes([len(name)]) + name)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_REFUSED")
    assert_serves(server)


def test_control_characters_do_not_reach_the_log(server):
    """No line of the log can be made by a caller."""
    forged = "digits\n2026-01-01 denoised: all is well\x1b[31m\x00"
    failure = failing(server.stub.Sample, pb.SampleRequest(model=forged), timeout=20)
    assert failure.code == grpc.StatusCode.NOT_FOUND
    for text in (failure.message, server.stderr):
        assert "\x1b" not in text and "\x00" not in text
    assert "\n" not in failure.message
    assert not any(line.startswith("2026-01-01 denoised:") for line in server.stderr.splitlines())


@pytest.mark.parametrize("request_id", ["a" * 129, "two words", "a" * 5000, " "])
def test_a_request_id_that_does_not_fit_a_log_line_is_refused(server, request_id):
    failure = failing(server.stub.Sample, pb.SampleRequest(), timeout=20, metadata=[("x-request-id", request_id)])
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "x-request-id" in failure.violations


def test_huge_metadata(server):
    for _ in range(3):
        failure = failing(
            server.new_stub().Sample, pb.SampleRequest(), timeout=20, metadata=[("x-much", "m" * 200_000)]
        )
        # Which one depends on whether the answer still gets out of the connection that is closed.
        assert failure.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    assert_serves(server)


def test_compressed_messages_are_refused_before_they_are_unpacked(server):
    before = server.rss_bytes()
    request = pb.SampleRequest(initial_noise=tensor(np.zeros((10_000, 1, 28, 28))))
    failure = failing(server.stub.Sample, request, timeout=20, compression=grpc.Compression.Gzip)
    assert failure.code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert server.rss_bytes() - before < 16 << 20
    assert_serves(server)


@pytest.fixture(scope="module")
def small_messages(start_shared_server):
    return start_shared_server("--max-message-bytes", "64K")


def test_an_oversized_message(small_messages):
    before = small_messages.rss_bytes()
    for _ in range(5):
        failure = failing(
            small_messages.stub.Sample, pb.SampleRequest(initial_noise=tensor(np.zeros((2000, 1, 28, 28)))), timeout=20
        )
        assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert small_messages.rss_bytes() - before < 32 << 20
    assert_serves(small_messages)


def test_an_answer_that_would_be_too_large_is_refused_before_it_is_made(small_messages):
    before = small_messages.until_idle().total("rows_total")
    failure = failing(small_messages.stub.Sample, pb.SampleRequest(num_samples=64), timeout=20)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "num_samples" in failure.violations
    assert small_messages.metric("rows_total") == before
    got = sample(small_messages.stub, num_samples=20, sampler=dict(steps=1))
    assert got.samples.shape[0] == 20


def test_unknown_methods_and_services(server):
    for method in ("/denoise.v1.Diffusion/Paint", "/nothing.Service/Call"):
        assert raw_call(server, method, b"").code == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/", "/metrics/../../etc/passwd", "/etc/passwd"])
def test_the_metrics_port_serves_nothing_but_metrics(server, path):
    with socket.create_connection(host_and_port(server.metrics_address), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert b" 404 " in answer.splitlines()[0] or b" 400 " in answer.splitlines()[0]
    assert b"root:" not in answer
