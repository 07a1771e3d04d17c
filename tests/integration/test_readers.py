"""Readers that are slow, that never read, and that vanish."""

import signal
import subprocess
import sys

import grpc
import numpy as np
import pytest

from harness.api import CALL_TIMEOUT, SAMPLE, Outcome, pb, sample, tensor
from harness.models import GaussianDenoiser, write_model
from harness.paths import ROOT, clean_environment
from harness.server import ONE_ENGINE
from harness.waiting import eventually

BOTH = ["CONTENT_X_T", "CONTENT_PREDICTED_X_0"]
# A connection that takes in 64 KiB ahead of its reader and no more.
NARROW = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65536}


def long_request(n: int = 16, **changes) -> pb.SampleRequest:
    fields = dict(
        num_samples=n,
        seed=1,
        class_labels=[1],
        guidance_scale=1,
        sampler=dict(kind="KIND_DDIM", steps=1000),
        states=dict(every_n_steps=1, content=BOTH),
    )
    return pb.SampleRequest(**fields | changes)


def test_a_slow_reader_loses_states_and_is_told_so(server, report):
    """40 samples by 40 steps by two contents are 10 MB. They are all made before one is read."""
    request = dict(
        num_samples=40, seed=12, class_labels=[2], guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=40)
    )
    wanted = 40 * 40 * 2
    expected = sample(server.stub, **request).samples
    before = server.metrics()

    stream = server.new_stub(**NARROW).Sample(
        pb.SampleRequest(**request, states=dict(every_n_steps=1, content=BOTH)), timeout=CALL_TIMEOUT
    )
    rows = 40 * 40
    server.until(
        lambda m: m.total("rows_total") - before.total("rows_total") >= rows and m.total("chains_active") == 0,
        within=30,
        what="all chains have run, without a reader",
    )
    got = Outcome.of(stream)

    assert got.result.states_dropped > 0
    assert len(got.states) + got.result.states_dropped == wanted
    for i in range(40):
        for content in (pb.CONTENT_X_T, pb.CONTENT_PREDICTED_X_0):
            steps = sorted(got.states_of(i, content))
            assert steps and steps[-1] == 40, "the last state is never lost"
            seen = [s.step for s in got.states if s.sample_index == i and s.content == content]
            assert seen == steps, "in order"
        np.testing.assert_array_equal(got.states_of(i)[40], got.samples[i])
    np.testing.assert_allclose(got.samples, expected, atol=1e-4)
    after = server.until(
        lambda m: m.total("states_dropped_total") - before.total("states_dropped_total") == got.result.states_dropped
    )
    assert after.total("states_sent_total") - before.total("states_sent_total") == len(got.states)
    report("states kept for a reader that reads late", f"{len(got.states)} of {wanted}")


def test_a_quick_reader_loses_nothing(server):
    """Negative control of the one above: the same request, read at once."""
    got = sample(
        server.stub,
        num_samples=4,
        seed=12,
        sampler=dict(kind="KIND_DDIM", steps=40),
        states=dict(every_n_steps=1, content=BOTH),
    )
    assert got.result.states_dropped == 0 and len(got.states) == 4 * 40 * 2


def test_a_reader_that_never_reads_is_cut_off(start_server):
    server = start_server("--write-timeout", "1s")
    stream = server.new_stub(**NARROW).Sample(long_request(), timeout=CALL_TIMEOUT)
    server.until_busy(16)

    metrics = server.until_counted(1, method="Sample")

    assert metrics.total("requests_total", code="OK") == 0
    server.until_idle(within=2)
    with pytest.raises(grpc.RpcError):
        list(stream)
    assert sample(server.stub, seed=1, sampler=dict(steps=5)).result


def test_callers_who_do_not_read_hold_no_place(start_server):
    """20 callers of Diffuse, whose answers must not lose a state, on a server that runs 8 chains at once."""
    server = start_server(*ONE_ENGINE, "--max-active", "8", "--max-state-bytes", "65536")
    x_0 = tensor(sample(server.stub, seed=1, sampler=dict(steps=2)).samples)
    request = pb.DiffuseRequest(x_0=x_0, seed=2, timesteps=list(range(1000)), chain=True)
    stub = server.new_stub(**NARROW)
    unread = [stub.Diffuse(request, timeout=CALL_TIMEOUT) for _ in range(20)]
    server.until(lambda m: m.total("chains_parked") == 20, within=20, what="all wait for their callers")

    assert sample(server.stub, seed=3, sampler=dict(steps=5), timeout=10).result

    steps = [state.step for state in Outcome.of(unread[-1]).states]
    assert steps == list(range(1, 1001)), "it has gone on where it stopped"
    for stream in unread:
        stream.cancel()
    server.until_idle()


def test_a_reader_that_never_reads_costs_a_bounded_amount_of_memory(start_server, tmp_path, report):
    """1,000 steps of 16 samples and two contents are 1.5 GB of states."""
    folder = write_model(tmp_path / "large", GaussianDenoiser(), shape=(3, 64, 64))
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,16", model=folder)
    sample(server.stub, num_samples=16, seed=1, sampler=dict(steps=20))
    before = server.rss_bytes()
    stream = server.new_stub(**NARROW).Sample(long_request(class_labels=[]), timeout=CALL_TIMEOUT)
    server.until(lambda m: m.total("rows_total") > 3_000, within=40)
    grown = server.rss_bytes() - before
    report("RSS growth, 300 MB of states unread", f"{grown / 2**20:.1f} MiB")
    assert grown < 16 << 20
    stream.cancel()
    server.until_idle()


def test_a_client_killed_in_the_middle(server):
    """Its chains go, and a neighbour's samples stay what they are alone."""
    neighbour = dict(num_samples=4, seed=77, class_labels=[3], sampler=dict(kind="KIND_DDPM", steps=50))
    alone = sample(server.stub, **neighbour).samples
    before = server.metrics()

    victim = subprocess.Popen(
        [sys.executable, "-m", "harness.reader", server.address, SAMPLE],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        victim.stdin.write(long_request(n=8).SerializeToString())
        victim.stdin.close()
        for line in victim.stdout:  # in the middle: some states have come
            if int(line) >= 20:
                break
        future = server.stub.Sample(pb.SampleRequest(**neighbour), timeout=CALL_TIMEOUT)
        server.until_busy(12)
        victim.send_signal(signal.SIGKILL)
    finally:
        victim.kill()
        victim.wait()

    assert np.max(np.abs(Outcome.of(future).samples - alone)) <= 1e-4
    server.until_idle(within=5)
    server.until_counted(1, before, code="CANCELLED")
    made = server.metric("rows_total") - before.total("rows_total")
    assert made < 8 * 1000, "the chains did not run to their end"


def test_many_streams_at_once_are_all_complete(server):
    streams = [
        server.stub.Sample(
            pb.SampleRequest(
                seed=i,
                guidance_scale=1,
                sampler=dict(kind="KIND_DDIM", steps=10),
                states=dict(every_n_steps=1, content=["CONTENT_X_T"]),
            ),
            timeout=CALL_TIMEOUT,
        )
        for i in range(100)
    ]
    for i, stream in enumerate(streams):
        got = Outcome.of(stream)
        assert got.accepted.seed == i
        assert len(got.states) + got.result.states_dropped == 10
        np.testing.assert_array_equal(got.states_of()[10], got.samples[0])


def test_connections_do_not_pile_up(server):
    def storm():
        for _i in range(40):
            with server.connect() as channel:
                channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)

    storm()
    settled = eventually(server.open_files)
    storm()
    eventually(lambda: server.open_files() <= settled + 5, what="sockets are closed")
