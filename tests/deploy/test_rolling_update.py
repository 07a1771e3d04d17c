"""A rolling update, simulated with processes: three servers are replaced one by one under load, and no
call fails. The callers do what docs/operations.md asks of them: round_robin, and a retry of UNAVAILABLE."""

import json
import socket
import threading
from contextlib import ExitStack

import grpc

from harness.api import connect, pb, pb_grpc
from harness.paths import DIGITS
from harness.server import Server
from harness.waiting import eventually

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "denoise.v1.Diffusion"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


class Caller(threading.Thread):
    """Asks for one sample after the other."""

    def __init__(self, channel: grpc.Channel, stop: threading.Event):
        super().__init__()
        self.stub = pb_grpc.DiffusionStub(channel)
        self.stopped = stop
        self.results = 0
        self.failures: list[str] = []

    def run(self) -> None:
        request = pb.SampleRequest(
            num_samples=1, seed=1, sampler=dict(kind="KIND_DDIM", steps=20), states=dict(every_n_steps=5)
        )
        while not self.stopped.is_set():
            try:
                events = list(self.stub.Sample(request, timeout=30))
                assert events[-1].HasField("result"), events[-1]
                self.results += 1
            except (grpc.RpcError, AssertionError) as failure:
                self.failures.append(str(failure))


def test_three_servers_are_replaced_and_no_call_fails(tmp_path):
    ports = free_ports(3)

    def start(name: str, port: int) -> Server:
        return Server(
            tmp_path / name,
            "--model",
            str(DIGITS),
            "--devices",
            "cpu:1",
            "--batch-sizes",
            "1,4",
            "--listen",
            f"127.0.0.1:{port}",
        )

    def served(server: Server) -> float:
        return server.metric("requests_total", method="Sample", code="OK")

    servers = [start(f"old{i}", port) for i, port in enumerate(ports)]
    channel = connect(
        "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports),
        **{
            "grpc.service_config": json.dumps(SERVICE_CONFIG),
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 500,
        },
    )
    stop = threading.Event()
    callers = [Caller(channel, stop) for _ in range(3)]
    try:
        for caller in callers:
            caller.start()
        for i, port in enumerate(ports):
            eventually(lambda: served(servers[i]), within=20, what=f"old server {i} serves")
            servers[i].stop()
            servers[i] = start(f"new{i}", port)
            eventually(lambda: served(servers[i]), within=20, what=f"new server {i} serves")
    finally:
        stop.set()
        for caller in callers:
            caller.join(60)
        channel.close()
        for server in servers:
            server.kill()
            server.close()
    assert [failure for caller in callers for failure in caller.failures] == []
    assert all(caller.results for caller in callers)
