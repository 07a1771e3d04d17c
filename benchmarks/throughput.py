"""Rows a second: of the service beside bare LibTorch loops, of many clients beside one, of a mixture beside equals."""

import threading
import time

import grpc

from benchmarks.figures import Figure, ratios, spread
from benchmarks.load import BareLoop, Run, Server, pb, rate

# What a user would write: all cores in one call, and the batch at which that is quickest here.
PLAIN_BATCHES = (8, 16, 32)


def plain_loop(run: Run, cores: int) -> BareLoop:
    """The plain loop at its best batch size, so that it is a fair baseline."""
    loops = {batch: BareLoop(run.seconds, "contiguous", 1, cores, batch) for batch in PLAIN_BATCHES}
    tries = {batch: [] for batch in loops}
    for _ in range(3):
        for batch, loop in loops.items():
            tries[batch].append(loop.rate())
    best = max(loops, key=lambda batch: sorted(tries[batch])[1])
    run.say(
        f"plain loop: contiguous, 1 x {cores} threads, batches of {best}, the best of "
        + ", ".join(f"{batch}: {spread(rates)}" for batch, rates in tries.items())
    )
    for batch, loop in loops.items():
        if batch != best:
            loop.close()
    return loops[best]


def saturate(server: Server, seconds: float):
    """Always more chains than fill the batches of all replicas, also while those that end are replaced."""
    batch, replicas = server.model.batch_sizes[-1], server.model.replicas
    return rate(
        server,
        seconds,
        "--clients",
        str(4 * replicas),
        "--n",
        str(min(batch, 64)),
        "--steps",
        "10,20,50",
        "--sampler",
        "ddim",
    )


def saturation(run: Run) -> list[Figure]:
    """The service at saturation beside the same denoiser call in a loop, and beside the plain loop."""
    server = run.tuned("service")
    model = server.model
    same = BareLoop(
        run.seconds, model.layout, model.replicas, model.threads, model.batch_sizes[-1], program="same_loop"
    )
    plain = plain_loop(run, model.replicas * model.threads)
    service, same_rates, plain_rates, cores = [], [], [], []
    for turn in range(run.turns):
        same_rates.append(same.rate())
        plain_rates.append(plain.rate())
        got = saturate(server, run.seconds)
        service.append(got.rows)
        cores.append(got.client_cores)
        run.say(
            f"turn {turn + 1}: same call {same_rates[-1]:.0f}, plain loop {plain_rates[-1]:.0f}, "
            f"service {got.rows:.0f} rows/s at batches of {got.batch:.2f}, client on {got.client_cores:.3f} cores"
        )
    for each in (same, plain):
        each.close()
    server.stop()
    note = f"{spread(service)} rows/s"
    figures = [Figure("service at saturation / plain loop", ratios(service, plain_rates), ">= 1.10", note=note)]
    if model.executor == "torchscript":
        figures.insert(
            0, Figure("service at saturation / same call in a loop", ratios(service, same_rates), ">= 0.97", note=note)
        )
    return figures


def precisions(run: Run) -> list[Figure]:
    """Packages of AOTInductor and --precision bfloat16 beside the plain loop in float32."""
    servers = {
        "float32, aotinductor": run.tuned(
            "float32, package", "--executor", "aotinductor", model=run.compiled("float32")
        ),
        "bfloat16, torchscript": run.tuned("bfloat16", "--precision", "bfloat16"),
        "bfloat16, aotinductor": run.tuned(
            "bfloat16, package", "--precision", "bfloat16", "--executor", "aotinductor", model=run.compiled("bfloat16")
        ),
    }
    model = servers["bfloat16, torchscript"].model
    plain = plain_loop(run, model.replicas * model.threads)
    rates = {name: [] for name in servers}
    plain_rates = []
    for turn in range(run.turns):
        plain_rates.append(plain.rate())
        for name, server in servers.items():
            rates[name].append(saturate(server, run.seconds).rows)
        run.say(
            f"turn {turn + 1}: plain loop {plain_rates[-1]:.0f}, "
            + "; ".join(f"{name} {rates[name][-1]:.0f}" for name in servers)
            + " rows/s"
        )
    plain.close()
    for server in servers.values():
        server.stop()
    targets = {"bfloat16, torchscript": ">= 1.55", "bfloat16, aotinductor": ">= 1.65"}
    return [
        Figure(
            f"service at saturation, {name} / plain loop in float32",
            ratios(rates[name], plain_rates),
            targets.get(name, ""),
            note=f"{spread(rates[name])} rows/s",
        )
        for name in servers
    ]


def one_client(run: Run) -> list[Figure]:
    """One client with one chain at a time beside the plain loop at batch 1."""
    servers = {
        purpose: run.tuned(f"tuned for {purpose}", "--tune-for", purpose) for purpose in ("latency", "throughput")
    }
    model = servers["throughput"].model
    plain = BareLoop(run.seconds, "contiguous", 1, model.replicas * model.threads, 1)
    rates = {purpose: [] for purpose in servers}
    plain_rates = []
    for turn in range(run.turns):
        plain_rates.append(plain.rate())
        for purpose, server in servers.items():
            rates[purpose].append(
                rate(server, run.seconds, "--clients", "1", "--n", "1", "--steps", "50", "--sampler", "ddim").rows
            )
        run.say(
            f"turn {turn + 1}: plain loop at batch 1 {plain_rates[-1]:.0f}, "
            + ", ".join(f"tuned for {purpose} {rates[purpose][-1]:.0f}" for purpose in servers)
            + " rows/s"
        )
    plain.close()
    for server in servers.values():
        server.stop()
    targets = {"latency": ">= 1.1", "throughput": ">= 0.8"}
    return [
        Figure(
            f"one client, tuned for {purpose} / plain loop at batch 1",
            ratios(rates[purpose], plain_rates),
            targets[purpose],
            note=f"{spread(rates[purpose])} rows/s",
        )
        for purpose in servers
    ]


def many_clients(run: Run) -> list[Figure]:
    """16 clients of one chain each beside one, for each kind of batching."""
    figures = []
    mixed = ("--n", "1", "--steps", "10,20,50,100", "--sampler", "ddim")
    for batching in ("step", "request", "none"):
        server = run.server(f"--batching {batching}", "--batching", batching)
        one, many, batches = [], [], []
        for _ in range(run.turns):
            one.append(rate(server, run.seconds, "--clients", "1", *mixed).rows)
            got = rate(server, run.seconds, "--clients", "16", *mixed)
            many.append(got.rows)
            batches.append(got.batch)
        server.stop()
        figures.append(
            Figure(
                f"16 clients / 1, --batching {batching}",
                ratios(many, one),
                note=f"{spread(many)} rows/s at batches of {spread(batches)}",
            )
        )
    return figures


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
    loads = {"equal": [EQUAL] * 24, "mixed": [*MIXTURE, LIKELIHOOD]}
    rates, batches = {name: [] for name in loads}, {name: [] for name in loads}
    for _ in range(run.turns):
        for name, requests in loads.items():
            with Repeated(server, requests):
                time.sleep(1)  # every client's first request is under way
                before, begin = server.metrics(), time.monotonic()
                time.sleep(run.seconds)
                after, end = server.metrics(), time.monotonic()
            rows = after.total("rows_total") - before.total("rows_total")
            rates[name].append(rows / (end - begin))
            batches[name].append(rows / (after.total("batch_rows_count") - before.total("batch_rows_count")))
    server.stop()
    return [
        Figure(
            "a mixture of samplers, guidance and an Evaluate / equal requests",
            ratios(rates["mixed"], rates["equal"]),
            note=f"batches of {spread(batches['mixed'])} and {spread(batches['equal'])}",
        )
    ]


def invariance(run: Run) -> list[Figure]:
    """A server with --batch-invariant beside one without, at saturation."""
    servers = [run.server("free"), run.server("invariant", "--batch-invariant")]
    rates = {server: [] for server in servers}
    for turn in range(run.turns):
        for server in servers if turn % 2 == 0 else reversed(servers):
            rates[server].append(
                rate(
                    server, run.seconds, "--clients", "4", "--n", "16", "--steps", "10,20,50", "--sampler", "ddim"
                ).rows
            )
    for server in servers:
        server.stop()
    free, invariant = (rates[server] for server in servers)
    return [Figure("--batch-invariant / without", ratios(invariant, free), note=f"{spread(invariant)} rows/s")]
