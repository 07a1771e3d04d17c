"""Rows a second: of the service beside bare LibTorch loops, of many clients beside one."""

from functools import partial

from benchmarks.figures import Figure, ratios, spread
from benchmarks.goals import GOALS
from benchmarks.load import BareLoop, Run, Server, rows_a_second

# All cores in one call, and the batch at which that is quickest here.
PLAIN_BATCHES = (8, 16, 32)


def plain_loop(run: Run, name: str, cores: int, layout="contiguous", allocator="glibc") -> BareLoop:
    """What a user would write, at its best batch size, so that it is a fair baseline."""
    loops = {batch: run.loop(layout, 1, cores, batch, allocator) for batch in PLAIN_BATCHES}
    tries = run.in_turns({batch: loop.rate for batch, loop in loops.items()}, rows_a_second, turns=3)
    best = max(loops, key=lambda batch: sorted(tries[batch])[1])
    run.note(
        f"{name}: {layout}, {allocator}, 1 x {cores} threads, batches of {best}, the best of "
        + ", ".join(f"{batch}: {spread(rates)}" for batch, rates in tries.items())
        + " rows/s"
    )
    for batch, loop in loops.items():
        if batch != best:
            loop.close()
    return loops[best]


def saturate(run: Run, server: Server) -> float:
    """Rows a second, with more chains than fill the batches of all replicas, also while those that end are replaced."""
    batch, replicas = server.model.batch_sizes[-1], server.model.replicas
    return run.rate(
        server, "--clients", str(4 * replicas), "--n", str(min(batch, 64)), "--steps", "10,20,50", "--sampler", "ddim"
    ).rows


def saturation(run: Run) -> list[Figure]:
    """The service at saturation beside the same denoiser call in a loop, and beside plain loops, of which two have one
    thing each of what the service has: its allocator, and its layout."""
    server = run.server("service")
    model = server.model
    cores = model.replicas * model.threads
    loops = {
        "plain loop": plain_loop(run, "plain loop", cores),
        "plain loop with jemalloc": plain_loop(run, "plain loop with jemalloc", cores, allocator="jemalloc"),
        "plain loop in channels_last": plain_loop(run, "plain loop in channels_last", cores, layout="channels_last"),
    }
    if model.executor == "torchscript":
        batch = model.batch_sizes[-1]
        loops["same call"] = run.loop(model.layout, model.replicas, model.threads, batch, allocator="jemalloc")
        run.note(f"same call: {model.layout}, jemalloc, {model.replicas} x {model.threads} threads, batches of {batch}")
    ways = {name: loop.rate for name, loop in loops.items()}
    rates = run.in_turns({**ways, "service": partial(saturate, run, server)}, rows_a_second)
    return [
        Figure(
            f"service at saturation / {name}",
            ratios(rates["service"], rates[name]),
            GOALS[f"saturation / {name}"],
            note=f"{spread(rates['service'])} / {spread(rates[name])} rows/s",
        )
        for name in loops
    ]


def precisions(run: Run) -> list[Figure]:
    """Packages of AOTInductor and --precision bfloat16 beside the plain loop in float32."""
    servers = {
        "float32, aotinductor": run.server(
            "float32, aotinductor", "--executor", "aotinductor", model=run.compiled("float32")
        ),
        "bfloat16, torchscript": run.server("bfloat16, torchscript", "--precision", "bfloat16"),
        "bfloat16, aotinductor": run.server(
            "bfloat16, aotinductor",
            "--precision",
            "bfloat16",
            "--executor",
            "aotinductor",
            model=run.compiled("bfloat16"),
        ),
    }
    model = servers["bfloat16, torchscript"].model
    plain = plain_loop(run, "plain loop", model.replicas * model.threads)
    ways = {name: partial(saturate, run, server) for name, server in servers.items()}
    rates = run.in_turns({"plain loop": plain.rate, **ways}, rows_a_second)
    return [
        Figure(
            f"service at saturation, {name} / plain loop in float32",
            ratios(rates[name], rates["plain loop"]),
            GOALS[name],
            note=f"{spread(rates[name])} rows/s",
        )
        for name in servers
    ]


def one_client(run: Run) -> list[Figure]:
    """One client with one chain at a time beside the plain loop at batch 1."""
    purposes = ("latency", "throughput")
    servers = {purpose: run.server(f"tuned for {purpose}", "--tune-for", purpose) for purpose in purposes}
    model = servers["throughput"].model
    cores = model.replicas * model.threads
    plain = run.loop("contiguous", 1, cores, 1)
    run.note(f"plain loop: contiguous, glibc, 1 x {cores} threads, batches of 1")
    alone = ("--clients", "1", "--n", "1", "--steps", "50", "--sampler", "ddim")
    ways = {purpose: lambda server=server: run.rate(server, *alone).rows for purpose, server in servers.items()}
    rates = run.in_turns({"plain loop": plain.rate, **ways}, rows_a_second)
    return [
        Figure(
            f"one client, tuned for {purpose} / plain loop at batch 1",
            ratios(rates[purpose], rates["plain loop"]),
            GOALS[f"one client, tuned for {purpose}"],
            note=f"{spread(rates[purpose])} rows/s",
        )
        for purpose in servers
    ]


def many_clients(run: Run) -> list[Figure]:
    """16 clients of one chain each beside one, for each kind of batching."""
    figures = []
    for batching in ("step", "request", "none"):
        server = run.server(f"--batching {batching}", "--batching", batching)
        results = run.in_turns(
            {
                f"{clients} clients": lambda clients=clients: run.rate(
                    server, "--clients", str(clients), "--n", "1", "--steps", "10,20,50,100", "--sampler", "ddim"
                )
                for clients in (1, 16)
            },
            lambda got: f"{got.rows:.0f} rows/s",
        )
        one, many = ([got.rows for got in results[f"{clients} clients"]] for clients in (1, 16))
        batches = [got.batch for got in results["16 clients"]]
        figures.append(
            Figure(
                f"16 clients / 1, --batching {batching}",
                ratios(many, one),
                GOALS[f"clients, {batching}"],
                note=f"{spread(many)} rows/s at batches of {spread(batches)}",
            )
        )
    return figures


def invariance(run: Run) -> list[Figure]:
    """A server with --batch-invariant beside one without, at saturation."""
    servers = {"free": run.server("free"), "invariant": run.server("invariant", "--batch-invariant")}
    rates = run.in_turns({name: partial(saturate, run, server) for name, server in servers.items()}, rows_a_second)
    return [
        Figure(
            "--batch-invariant / without",
            ratios(rates["invariant"], rates["free"]),
            GOALS["invariance"],
            note=f"{spread(rates['invariant'])} rows/s",
        )
    ]
