"""Four servers, each in a network namespace of its own, and one of them goes: drained, killed, or cut off.
No request is lost. The callers use round_robin with health checking and retries, as docs/operations.md asks; and
since a request with a seed may be retried, what was under way at a server that has died is asked of the others."""

import json
import signal
import threading

import grpc
import numpy as np
import pytest
from namespaces import Network, NotPermitted

from harness.api import Outcome, connect, pb, pb_grpc
from harness.paths import DIGITS
from harness.server import Server
from harness.waiting import PATIENCE, eventually

SERVERS = 4
CALLERS = 8
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
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


@pytest.fixture
def network():
    try:
        network = Network(SERVERS).__enter__()
    except NotPermitted as reason:
        pytest.skip(f"no network namespaces here: {reason}")
    try:
        yield network
    finally:
        network.__exit__()


@pytest.fixture
def servers(network, tmp_path):
    servers = []
    try:
        for i, host in enumerate(network.hosts):
            servers.append(
                Server(
                    tmp_path / f"server{i}",
                    "--model",
                    str(DIGITS),
                    "--devices",
                    "cpu:1",
                    "--batch-sizes",
                    "1,2,4",
                    "--listen",
                    f"{host.address}:8500",
                    "--metrics-listen",
                    f"{host.address}:8501",
                    prefix=host.enter,
                )
            )
        yield servers
    finally:
        for server in servers:
            server.kill()
            server.close()


class Caller(threading.Thread):
    """Asks for one sample after the other, of seeds of its own; one that was cut short is asked for again."""

    def __init__(self, number: int, channel: grpc.Channel, stop: threading.Event):
        super().__init__()
        self.number, self.stop = number, stop
        self.stub = pb_grpc.DiffusionStub(channel)
        self.results: dict[int, np.ndarray] = {}
        self.asked_again = 0
        self.failure: str | None = None

    def sample(self, seed: int) -> np.ndarray:
        request = pb.SampleRequest(
            num_samples=1,
            class_labels=[3],
            seed=seed,
            sampler=dict(kind="KIND_DDIM", steps=40),
            states=dict(every_n_steps=10),
        )
        while True:
            try:
                return Outcome.of(self.stub.Sample(request, timeout=60 * PATIENCE)).samples
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                self.asked_again += 1

    def run(self) -> None:
        seed = 1000 * self.number
        try:
            while not self.stop.is_set():
                self.results[seed] = self.sample(seed)
                seed += 1
        except Exception as failure:  # told by the test
            self.failure = repr(failure)


def served(server: Server) -> float:
    return server.metric("requests_total", method="Sample", code="OK")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["drained", "killed", "cut off"])
def test_no_request_is_lost_when_a_server_goes(network, servers, how):
    channel = connect(
        "ipv4:" + ",".join(server.address for server in servers),
        **{
            "grpc.service_config": json.dumps(SERVICE_CONFIG),
            # As the client library has them; a server that is cut off is detected by nothing else.
            "grpc.keepalive_time_ms": 10_000,
            "grpc.keepalive_timeout_ms": 2_000,
            "grpc.http2.max_pings_without_data": 0,
        },
    )
    stop = threading.Event()
    callers = [Caller(i, channel, stop) for i in range(CALLERS)]
    gone, others = servers[0], servers[1:]
    try:
        for caller in callers:
            caller.start()
        for i, server in enumerate(servers):
            eventually(lambda: served(server), within=40, what=f"server {i} serves")
        gone.until_busy()
        if how == "drained":
            gone.signal(signal.SIGTERM)
            assert gone.wait(within=40) == 0, gone.stderr
        elif how == "killed":
            gone.signal(signal.SIGKILL)
        else:
            network.hosts[0].cut_off()
        # Each caller has gone on: with the others it has come to an end of what it asked for then, and of more.
        before = [len(caller.results) for caller in callers]
        eventually(
            lambda: all(
                caller.failure or len(caller.results) >= count + 3
                for caller, count in zip(callers, before, strict=True)
            ),
            within=60,
            what="every caller goes on",
        )
    finally:
        stop.set()
        for caller in callers:
            caller.join(90)
        channel.close()
    assert [caller.failure for caller in callers] == [None] * CALLERS
    asked_again = sum(caller.asked_again for caller in callers)
    if how == "drained":
        assert asked_again == 0  # what was under way was finished, and gRPC took the rest elsewhere
    else:
        assert asked_again > 0  # else nothing was under way, and nothing was shown
    # Every seed up to the last has its sample, and it is the one that the seed stands for, wherever it was made.
    for caller in callers:
        assert sorted(caller.results) == list(range(1000 * caller.number, 1000 * caller.number + len(caller.results)))
    alone = Caller(0, others[0].channel, stop)
    for seed in [0, max(callers[0].results)]:
        np.testing.assert_allclose(callers[0].results[seed], alone.sample(seed), atol=1e-3)
