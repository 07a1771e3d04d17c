"""A mixture of requests beside equal ones."""

import threading
import time
from functools import partial

import grpc

from benchmarks.figures import Figure, ratios, spread
from benchmarks.goals import GOALS
from benchmarks.load import Rate, Run, Server, pb

EQUAL = pb.SampleRequest(class_labels=[3], guidance_scale=1, sampler=pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=50))
SAMPLERS = ("DDIM", "DDPM", "EULER", "HEUN", "DPMPP_2M", "SDE_DPMPP_2M", "UNIPC", "LMS")
MIXTURE = [
    pb.SampleRequest(
        class_labels=[i],
        guidance_scale=guidance,
        sampler=pb.Sampler(kind=pb.Sampler.Kind.Value(f"KIND_{kind}"), steps=20 + 10 * i),
    )
    for i, kind in enumerate(SAMPLERS)
    for guidance in (1, 2, 4)
]
LIKELIHOOD = pb.EvaluateRequest(
    x_0=pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=[1, 1, 28, 28], data=bytes(4 * 784)), class_labels=[3]
)


class Repeated:
    """A client for each of `requests`, with a connection of its own, that repeats it while the block runs: what
    `denoise bench` cannot mix."""

    def __init__(self, server: Server, requests: list):
        self._server, self._requests = server, requests
        self._stop = threading.Event()
        self._calls: dict[int, grpc.Call] = {}
        self._threads = [threading.Thread(target=self._client, args=(i,)) for i in range(len(requests))]

    def _client(self, index: int) -> None:
        stub, request = self._server.new_stub(), self._requests[index]
        call = stub.Evaluate if isinstance(request, pb.EvaluateRequest) else stub.Sample
        while not self._stop.is_set():
            stream = self._calls[index] = call(request)
            try:
                for _ in stream:
                    pass
            except grpc.RpcError:
                if not self._stop.is_set():
                    raise

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for call in self._calls.values():
            call.cancel()
        for thread in self._threads:
            thread.join()
        self._server.until_idle()
        self._server.close()


def mixture(run: Run) -> list[Figure]:
    """24 requests of 8 samplers, guided and not, and an Evaluate beside 24 equal requests."""
    server = run.server("service")
    run.note("load: a client for each request, which repeats it; the equal ones are DDIM with 50 steps")

    def measure(requests: list) -> Rate:
        with Repeated(server, requests):
            time.sleep(1)  # every client's first request is under way
            before, begin = server.metrics(), time.monotonic()
            time.sleep(run.seconds)
            after, end = server.metrics(), time.monotonic()
        rows = after.total("rows_total") - before.total("rows_total")
        calls = after.total("batch_rows_count") - before.total("batch_rows_count")
        return Rate(rows / (end - begin), rows / calls)

    loads = {"equal": [EQUAL] * 24, "mixed": [*MIXTURE, LIKELIHOOD]}
    results = run.in_turns(
        {name: partial(measure, requests) for name, requests in loads.items()},
        lambda got: f"{got.rows:.0f} rows/s at batches of {got.batch:.1f}",
    )
    mixed, equal = results["mixed"], results["equal"]
    return [
        Figure(
            "a mixture of samplers, guidance and an Evaluate / equal requests",
            ratios([got.rows for got in mixed], [got.rows for got in equal]),
            GOALS["mixture"],
            note="batches of " + " and ".join(spread([got.batch for got in each]) for each in (mixed, equal)),
        )
    ]
