"""Messages that are small on the wire and would be large in memory, and many large ones at once: what they cost the
server, whoever sends them. Rows 30 and 34 of the faults."""

import contextlib
import threading

import grpc
import numpy as np
import pytest

from harness.access import entry, write_tokens
from harness.api import CALL_TIMEOUT, SAMPLE, pb, sample, tensor
from harness.certificates import Authority
from harness.errors import failing
from harness.server import ONE_ENGINE
from harness.waiting import eventually

MIB = 1 << 20
MAX_MESSAGE = 64 * MIB  # --max-message-bytes
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
HEALTH = "/grpc.health.v1.Health/Check"
UNAUTHENTICATED, INVALID, EXHAUSTED = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


def varint(value: int) -> bytes:
    head = b""
    while value >= 0x80:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def delimited(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


PACKED_LABELS = delimited(6, b"\x01" * (60 * MIB))  # of 8 bytes each in memory
EMPTY_INPUTS = delimited(5, b"") * (15 * MIB)
EMPTY_STRINGS = delimited(5, delimited(5, delimited(8, b"") * (15 * MIB)))
UNKNOWN_FIELDS = (varint(77 << 3) + b"\x01") * (10 * MIB)
NESTED = delimited(4, b"\x0b" * (30 * MIB))  # groups that never end
# What is a message, and refused only when it is looked at.
WRONG_NOISE = pb.SampleRequest(initial_noise=tensor(np.zeros((15, 1, 1024, 1024)))).SerializeToString()


def raw_call(channel: grpc.Channel, method: str, request: bytes, **options):
    call = channel.unary_stream(method, lambda raw: raw, lambda raw: raw)
    return failing(call, request, timeout=CALL_TIMEOUT, **options)


@contextlib.contextmanager
def growth(server):
    """The bytes of RSS that the server has at most meanwhile, besides those it began with: in .bytes, at the end. Not
    besides those it has now, among which may be what earlier messages took and is free again."""
    measured = type("Growth", (), {})()
    server.reset_peak()
    yield measured
    measured.bytes = server.peak_rss_bytes() - server.rss_at_first


@pytest.fixture(scope="module")
def open_server(start_shared_server):
    server = start_shared_server(*ONE_ENGINE, "--batch-sizes", "1,2")
    sample(server.stub, seed=1, sampler=dict(steps=2))
    server.rss_at_first = server.rss_bytes()
    return server


@pytest.fixture(scope="module")
def closed_server(start_shared_server, tmp_path_factory):
    """One that asks for a token."""
    folder = tmp_path_factory.mktemp("closed")
    authority = Authority(folder, "root")
    pair = authority.issue("server", "IP:127.0.0.1")
    write_tokens(folder / "tokens", entry("caller", "right-token"))
    server = start_shared_server(
        *ONE_ENGINE,
        "--batch-sizes",
        "1,2",
        "--tls-cert",
        str(pair.certificate),
        "--tls-key",
        str(pair.key),
        "--token-file",
        str(folder / "tokens"),
    )
    server.credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    server.rss_at_first = server.rss_bytes()
    return server


@pytest.mark.parametrize("method", [SAMPLE, INFER])
def test_without_a_token_nothing_is_taken_in(closed_server, method, report):
    before = closed_server.metrics()
    with (
        grpc.secure_channel(closed_server.address, closed_server.credentials) as channel,
        growth(closed_server) as grown,
    ):
        failure = raw_call(channel, method, PACKED_LABELS)
    report(f"peak of RSS, 60 MiB without a token to {method}", f"{grown.bytes / MIB:.1f} MiB")
    assert failure.code == UNAUTHENTICATED
    assert grown.bytes < 4 * MIB
    closed_server.until_counted(1, before, code="UNAUTHENTICATED")
    assert "UNAUTHENTICATED" in closed_server.stderr


@pytest.mark.parametrize(
    ("method", "request_bytes", "field"),
    [
        (SAMPLE, PACKED_LABELS, "class_labels"),
        (INFER, EMPTY_INPUTS, "inputs"),
        (INFER, EMPTY_STRINGS, "inputs.contents"),
        (INFER, UNKNOWN_FIELDS, "message"),
        (INFER, NESTED, "parameters.key"),
        (SAMPLE, WRONG_NOISE, "initial_noise.shape"),
    ],
    ids=["labels", "inputs", "strings", "unknown", "groups", "noise"],
)
def test_a_message_costs_no_more_than_twice_its_limit(open_server, method, request_bytes, field, report, request):
    with growth(open_server) as grown:
        failure = raw_call(open_server.channel, method, request_bytes)
    report(f"peak of RSS, {request.node.callspec.id}", f"{grown.bytes / MIB:.1f} MiB")
    assert failure.code == INVALID and field in failure.violations, failure
    assert grown.bytes < 2 * MAX_MESSAGE
    assert sample(open_server.stub, seed=1, sampler=dict(steps=2)).result


@pytest.mark.parametrize("method", [SAMPLE, INFER, HEALTH])
def test_a_message_that_never_ends_is_cut_off(open_server, method, report):
    """gRPC itself would take in all of it before it looks at the size."""
    with growth(open_server) as grown:
        failure = raw_call(open_server.connect(), method, delimited(1, bytes(400 * MIB)))
    report(f"peak of RSS, 400 MiB to {method}", f"{grown.bytes / MIB:.1f} MiB")
    assert (failure.code, failure.reason) == (EXHAUSTED, "MEMORY_FULL")
    assert grown.bytes < 2 * MAX_MESSAGE
    assert sample(open_server.stub, seed=1, sampler=dict(steps=2)).result


@pytest.mark.parametrize("request_bytes", [PACKED_LABELS, WRONG_NOISE], ids=["labels", "noise"])
def test_many_at_once(open_server, request_bytes, report, request):
    failures = []
    neighbour = open_server.stub.Sample(
        pb.SampleRequest(seed=1, guidance_scale=1, sampler=dict(steps=1000), states=dict(every_n_steps=10)),
        timeout=CALL_TIMEOUT,
    )
    callers = [
        threading.Thread(target=lambda: failures.append(raw_call(open_server.connect(), SAMPLE, request_bytes)))
        for _ in range(20)
    ]
    with growth(open_server) as grown:
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    report(f"peak of RSS, 20 callers with 60 MiB of {request.node.callspec.id}", f"{grown.bytes / MIB:.1f} MiB")
    assert len(failures) == 20 and {f.code for f in failures} <= {INVALID, EXHAUSTED}
    report("codes", {str(code): sum(f.code == code for f in failures) for code in {f.code for f in failures}})
    assert grown.bytes < 2 * MAX_MESSAGE
    assert list(neighbour)[-1].HasField("result"), "who has nothing to do with it is served on"
    open_server.until_idle()


def test_a_stream_does_not_keep_its_largest_message(open_server, report):
    small = delimited(1, b"nobody")
    large = small + delimited(5, delimited(1, b"x") + delimited(5, delimited(6, bytes(48 * MIB))))
    requests: list[bytes] = [small, large, small]
    call = open_server.connect().stream_stream(STREAM_INFER, lambda raw: raw, lambda raw: raw)
    more = threading.Event()

    def send():
        yield from requests
        more.wait()

    answers = call(send(), timeout=CALL_TIMEOUT)
    for _ in requests:
        assert b"nobody" in next(answers)

    def kept() -> int:
        return open_server.rss_bytes() - open_server.rss_at_first

    # The answer may come a little before the message is gone.
    eventually(lambda: kept() < 16 * MIB, what="the message is gone while the stream lives")
    report("RSS that a stream keeps after one large message", f"{kept() / MIB:.1f} MiB")
    more.set()
    list(answers)


def test_what_is_too_large_is_told_so_with_details_and_counted(open_server):
    before = open_server.metrics()
    with growth(open_server) as grown:
        failure = raw_call(open_server.channel, SAMPLE, delimited(1, b"x" * (66 * MIB)))
    assert (failure.code, failure.reason) == (EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert failure.retry_seconds is None, "it would be no smaller then"
    assert grown.bytes < 2 * MAX_MESSAGE
    after = open_server.until_counted(1, before, code="RESOURCE_EXHAUSTED")
    assert after.total("requests_rejected_total", reason="message_too_large") == 1
    assert "MESSAGE_TOO_LARGE" in open_server.stderr


def test_results_that_nobody_reads_are_in_an_account(start_server, report):
    """Each is 64 samples of 28 x 28, 196 KiB."""
    server = start_server(*ONE_ENGINE, "--batch-sizes", "64", "--memory-budget", "2M")
    narrow = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536}
    request = pb.SampleRequest(num_samples=64, seed=1, guidance_scale=1, sampler=dict(steps=1))
    unread, refused = [], None
    while refused is None and len(unread) < 40:
        stream = server.new_stub(**narrow).Sample(request, timeout=CALL_TIMEOUT)
        try:
            next(stream)  # Accepted, and nothing more
            unread.append(stream)
        except grpc.RpcError as error:
            refused = error.code()
    metrics = server.metrics()
    report("results unread", f"{len(unread)}, {metrics.total('memory_budget_bytes', kind='results') / MIB:.1f} MiB")
    assert refused == EXHAUSTED
    assert 2 <= len(unread) <= 10
    assert metrics.total("memory_budget_bytes") <= metrics.total("memory_budget_limit_bytes") == 2 * MIB
    assert metrics.total("requests_rejected_total", reason="memory_full") == 1
    for stream in unread:
        stream.cancel()
    server.until(lambda m: m.total("memory_budget_bytes") == 0)
    assert sample(server.stub, seed=1, sampler=dict(steps=1)).result
