"""Servers behind round_robin.

The client shares the cores with the servers: what it takes of them is said. It is Python's gRPC, whose round_robin is
that of the C++ client; its requests are large, so that it has little to do.
"""

import json
import os
import threading
import time
from dataclasses import dataclass
from itertools import cycle

import grpc

from benchmarks.figures import Figure, ratios, spread
from benchmarks.goals import GOALS
from benchmarks.load import Run, Server, pb
from harness.api import connect, pb_grpc

ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})
CALLS_A_SERVER = 4  # under way at a time, of SAMPLES each: more chains than a batch holds
SAMPLES = 8


def start(run: Run, core: int) -> Server:
    """A server on that core alone."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited
    try:
        return run.server(f"on core {core}", "--devices", "cpu:1", "--threads", "1")
    finally:
        os.sched_setaffinity(0, mine)


class Load:
    """Calls in a closed loop over one channel to all of `servers`, while the block runs."""

    def __init__(self, servers: list[Server]):
        self._servers = servers
        self._channel = connect(
            "ipv4:" + ",".join(server.address for server in servers), **{"grpc.service_config": ROUND_ROBIN}
        )
        self._stub = pb_grpc.DiffusionStub(self._channel)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLS_A_SERVER * len(servers))]

    def _ask(self) -> None:
        request = pb.SampleRequest(
            num_samples=SAMPLES,
            class_labels=[3],
            guidance_scale=1,
            sampler=pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=50),
        )
        while not self._stop.is_set():
            try:
                for _ in self._stub.Sample(request, wait_for_ready=True):
                    pass
            except (grpc.RpcError, ValueError):  # a closed channel's calls are cancelled, and new ones are ValueErrors
                if not self._stop.is_set():
                    raise

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._channel.close()  # which cancels what is under way
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.until_idle(within=30)


@dataclass
class Together:
    rows: list[float]  # a second, of each server
    client_cores: float


def measure(servers: list[Server], seconds: float) -> Together:
    def rows():
        return [server.metric("rows_total") for server in servers]

    with Load(servers):
        for server in servers:
            server.until_busy(SAMPLES)
        time.sleep(1)
        before, begin, cpu = rows(), time.monotonic(), time.process_time()
        time.sleep(seconds)
        after, end, cpu_end = rows(), time.monotonic(), time.process_time()
    return Together(
        [(b - a) / (end - begin) for a, b in zip(before, after, strict=True)], (cpu_end - cpu) / (end - begin)
    )


def two_servers(run: Run) -> list[Figure]:
    """Two servers of one thread each, a core each, behind round_robin, beside one of them."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        run.say("left out: two servers want a core each, and this process has one")
        return []
    run.note(f"load: {CALLS_A_SERVER} calls a server at a time, of {SAMPLES} samples each, DDIM with 50 steps")
    servers = [start(run, core) for core in cores]
    alone = cycle(servers)
    results = run.in_turns(
        {"one": lambda: measure([next(alone)], run.seconds), "two": lambda: measure(servers, run.seconds)},
        lambda got: " + ".join(f"{rows:.0f}" for rows in got.rows) + f" rows/s, client on {got.client_cores:.2f} cores",
    )
    ones, twos = ([sum(got.rows) for got in results[name]] for name in ("one", "two"))
    client_cores = [got.client_cores for got in results["two"]]
    return [
        Figure(
            "two one-thread servers behind round_robin / one",
            ratios(twos, ones),
            GOALS["two servers"],
            note=f"{spread(twos)} rows/s, client on {spread(client_cores)} cores",
        )
    ]
