"""Rows a second of the service, as ratios measured in turns within one run.

    python tests/benchmarks/throughput.py loop         against bare LibTorch loops, at saturation
    python tests/benchmarks/throughput.py clients      16 clients against one, for each kind of batching
    python tests/benchmarks/throughput.py mix          24 requests of 8 samplers, guided and not, and an Evaluate,
                                                       against 24 equal requests
    python tests/benchmarks/throughput.py invariance   a server with --batch-invariant against one without, at saturation

Needs the programs of a build (DENOISE_BUILD, default ./build). Machines are noisy: what counts is the median of the
ratios, and their spread says how much to believe it.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from harness.api import pb  # noqa: E402
from harness.paths import BIN, ROOT  # noqa: E402
from harness.server import Server  # noqa: E402

import grpc  # noqa: E402

MODEL = ROOT / "models" / "digits"


class Load:
    """Clients in a closed loop, each with a connection of its own, while the block runs."""

    def __init__(self, server: Server, clients: int, samples: int, steps: list[int]):
        self._server, self._samples = server, samples
        self._steps = itertools.cycle(steps)
        self._stop = threading.Event()
        self._calls: dict[int, grpc.Call] = {}
        self._threads = [threading.Thread(target=self._client, args=(i,)) for i in range(clients)]

    def _client(self, index: int) -> None:
        stub = self._server.new_stub()
        while not self._stop.is_set():
            request = pb.SampleRequest(
                num_samples=self._samples,
                class_labels=[index % 10],
                guidance_scale=1,
                sampler=pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=next(self._steps)),
            )
            call = self._calls[index] = stub.Sample(request)
            try:
                for _ in call:
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


def rate(server: Server, clients: int, samples: int, steps: list[int], seconds: float):
    """Denoiser rows a second, and rows of a mean batch."""
    return measure(Load(server, clients, samples, steps), server, seconds)


EQUAL = pb.SampleRequest(
    class_labels=[3], guidance_scale=1, sampler=pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=50)
)
SAMPLERS = ("DDIM", "DDPM", "EULER", "HEUN", "DPMPP_2M", "SDE_DPMPP_2M", "UNIPC", "LMS")
MIXTURE = [
    pb.SampleRequest(
        class_labels=[i], guidance_scale=guidance,
        sampler=pb.Sampler(kind=pb.Sampler.Kind.Value(f"KIND_{kind}"), steps=20 + 10 * i),
    )
    for i, kind in enumerate(SAMPLERS)
    for guidance in (1, 2, 4)
]


class MixedLoad(Load):
    """A client for each of `requests`, which it repeats, and one for `evaluate` where that is given."""

    def __init__(self, server: Server, requests: list, evaluate=None):
        super().__init__(server, 0, 0, [0])
        self._requests = requests + ([evaluate] if evaluate else [])
        self._threads = [
            threading.Thread(target=self._client, args=(i,)) for i in range(len(self._requests))
        ]

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


def measure(load: Load, server: Server, seconds: float):
    """Denoiser rows a second under `load`, and rows of a mean batch."""
    with load:
        time.sleep(1)  # every client's first request is under way
        before, begin = server.metrics(), time.monotonic()
        time.sleep(seconds)
        after, end = server.metrics(), time.monotonic()
    rows = after.total("rows_total") - before.total("rows_total")
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    return rows / (end - begin), rows / calls


class BareLoop:
    def __init__(self, layout: str, replicas: int, threads: int, batch: int, seconds: float):
        self._process = subprocess.Popen(
            [BIN / "bare_loop", MODEL, layout, str(replicas), str(threads), str(batch), str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def rate(self) -> float:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def compare_with_loops(arguments) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), "--model", str(MODEL), "--max-samples", "64", *arguments.flags)
        model = server.stub.GetModel(pb.GetModelRequest())
        batch = model.batch_sizes[-1]
        same = BareLoop(model.layout, model.replicas, model.threads, batch, arguments.seconds)
        plain = BareLoop("contiguous", 1, model.replicas * model.threads, 16, arguments.seconds)
        print(f"service: {model.replicas} x {model.threads} threads, {model.layout}, batches of up to {batch}")
        clients = 2 * model.replicas
        same_rates, plain_rates, rates = [], [], []
        for turn in range(arguments.turns):
            same_rates.append(same.rate())
            plain_rates.append(plain.rate())
            # Always two batches' worth of chains for each replica.
            got, mean_batch = rate(server, clients, batch, [10, 20, 50], arguments.seconds)
            rates.append(got)
            print(f"  turn {turn + 1}: same call {same_rates[-1]:.0f}, plain loop {plain_rates[-1]:.0f}, "
                  f"service {got:.0f} rows/s at batches of {mean_batch:.2f}", flush=True)
        print("rows/s: same call", spread(same_rates, 0), " plain loop", spread(plain_rates, 0),
              " service", spread(rates, 0))
        print("service / same call: ", spread([a / b for a, b in zip(rates, same_rates)], 3))
        print("service / plain loop:", spread([a / b for a, b in zip(rates, plain_rates)], 3))
        same.close()
        plain.close()
        server.stop()


def compare_clients(arguments) -> None:
    steps = [10, 20, 50, 100]
    for batching in ("step", "request", "none"):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder), "--model", str(MODEL), "--batching", batching, *arguments.flags)
            one, many, batches = [], [], []
            for _ in range(arguments.turns):
                one.append(rate(server, 1, 1, steps, arguments.seconds)[0])
                got, mean_batch = rate(server, 16, 1, steps, arguments.seconds)
                many.append(got)
                batches.append(mean_batch)
            print(f"{batching:8} 1 client {spread(one, 0)} rows/s, 16 clients {spread(many, 0)} rows/s at batches of "
                  f"{spread(batches, 2)}; ratio {spread([a / b for a, b in zip(many, one)], 2)}", flush=True)
            server.stop()


def compare_mixture(arguments) -> None:
    x_0 = pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=[1, 1, 28, 28], data=bytes(4 * 784))
    likelihood = pb.EvaluateRequest(x_0=x_0, class_labels=[3])
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), "--model", str(MODEL), *arguments.flags)
        equal, mixed, equal_batches, mixed_batches = [], [], [], []
        for turn in range(arguments.turns):
            got, batch = measure(MixedLoad(server, [EQUAL] * 24), server, arguments.seconds)
            equal.append(got)
            equal_batches.append(batch)
            got, batch = measure(MixedLoad(server, MIXTURE, likelihood), server, arguments.seconds)
            mixed.append(got)
            mixed_batches.append(batch)
            print(f"  turn {turn + 1}: equal {equal[-1]:.0f} rows/s at {equal_batches[-1]:.2f}, "
                  f"mixed {mixed[-1]:.0f} at {mixed_batches[-1]:.2f}", flush=True)
        print("24 equal requests:", spread(equal, 0), "rows/s at batches of", spread(equal_batches, 2))
        print("the mixture:      ", spread(mixed, 0), "rows/s at batches of", spread(mixed_batches, 2))
        print("mixture / equal:  ", spread([a / b for a, b in zip(mixed, equal)], 3))
        server.stop()


def compare_invariance(arguments) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = lambda name, *flags: Server(Path(folder, name), "--model", str(MODEL), *flags, *arguments.flags)
        free, invariant = start("free"), start("invariant", "--batch-invariant")
        rates = {free: [], invariant: []}
        for server in rates:
            model = server.stub.GetModel(pb.GetModelRequest())
            print(f"{model.replicas} x {model.threads} threads, {model.layout}, batches of {list(model.batch_sizes)}")
        for turn in range(arguments.turns):
            for server in rates if turn % 2 == 0 else reversed(rates):
                # Always two batches' worth of chains for each replica.
                rates[server].append(rate(server, 4, 16, [10, 20, 50], arguments.seconds)[0])
            print(f"  turn {turn + 1}: {rates[free][-1]:.0f} rows/s, invariant {rates[invariant][-1]:.0f}", flush=True)
        print("rows/s: free", spread(rates[free], 0), " invariant", spread(rates[invariant], 0))
        print("invariant / free:", spread([a / b for a, b in zip(rates[invariant], rates[free])], 3))
        for server in rates:
            server.stop()


COMPARISONS = {
    "loop": compare_with_loops,
    "clients": compare_clients,
    "mix": compare_mixture,
    "invariance": compare_invariance,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(COMPARISONS))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of a slice")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="further flags of denoised; last")
    parsed = parser.parse_args()
    COMPARISONS[parsed.what](parsed)
