"""What does not come back: a denoiser's call, whoever should read the log, a load while the server is told to stop."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.api import CALL_TIMEOUT, connect, pb, pb_grpc, sample, tensor
from harness.models import SlowDenoiser, write_model
from harness.server import ONE_ENGINE
from harness.waiting import PATIENCE

SHAPE = (3, 8, 8)
ADMIN = re.compile(r"ModelAdmin on (\S+)")


def test_a_call_that_hangs_is_told_by_health_and_ends_the_server(start_server, tmp_path):
    server = start_server(*ONE_ENGINE, "--watchdog", "1s", model=write_model(tmp_path / "slow", SlowDenoiser()))
    health = health_pb2_grpc.HealthStub(server.channel)
    assert sample(server.stub, seed=1).result, "it serves"

    noise = np.full((1, *SHAPE), 101, np.float32)
    hangs = server.stub.Sample(pb.SampleRequest(initial_noise=tensor(noise)), timeout=CALL_TIMEOUT)
    states = []
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT)
    with pytest.raises(grpc.RpcError):
        for update in watch:
            states.append(update.status)

    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
    assert server.wait() == os.EX_SOFTWARE
    assert "a denoiser's call hangs" in server.stderr
    with pytest.raises(grpc.RpcError):
        list(hangs)


def test_a_log_that_nobody_reads_holds_up_nothing(start_server):
    """A pipe takes 64 KiB, and what follows would wait for ever."""
    server = start_server(*ONE_ENGINE, prefix=("bash", "-c", 'exec "$@" 2> >(exec sleep 60)', "--"))
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda i: sample(server.stub, seed=i, sampler=dict(steps=1), timeout=20), range(600)):
            pass
    server.stop()


def test_a_load_under_way_does_not_delay_the_stop(start_server, tmp_path):
    repository = tmp_path / "repository"
    write_model(repository / "quick", SlowDenoiser())
    server = start_server(
        *ONE_ENGINE, "--model-repository", str(repository), "--admin-listen", "127.0.0.1:0", model=None
    )
    # Some 30 calls of a second each.
    write_model(repository / "slow", SlowDenoiser(loops=3000))
    with connect(ADMIN.search(server.stderr)[1]) as channel, ThreadPoolExecutor(1) as pool:
        load = pool.submit(
            pb_grpc.ModelAdminStub(channel).LoadModel, pb.LoadModelRequest(model="slow"), timeout=60 * PATIENCE
        )
        health = health_pb2_grpc.HealthStub(server.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="slow"), timeout=CALL_TIMEOUT)
        server.stop(within=8)
        assert load.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        with pytest.raises(grpc.RpcError):
            assert all(update.status != health_pb2.HealthCheckResponse.SERVING for update in watch)
