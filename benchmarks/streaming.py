"""What streaming costs, and how soon the first state comes."""

from benchmarks.figures import Figure, ratios, spread
from benchmarks.load import Load, Run, rate

STREAMS = 1000


def streams(run: Run) -> list[Figure]:
    """1,000 streams open at once, every state streamed and half of the readers slow, beside nothing streamed."""
    server = run.server("service", "--max-waiting", "4000", "--max-active", "4000")
    load = ("--clients", str(STREAMS), "--n", "1", "--steps", "20", "--sampler", "ddim")
    streamed, silent, cores, memory = [], [], [], []
    for turn in range(run.turns):
        silent.append(rate(server, run.seconds, *load, settle=4))
        streamed.append(rate(server, run.seconds, *load, "--stream", "--slow-readers", "0.5/200ms", settle=4))
        cores.append(streamed[-1].client_cores - silent[-1].client_cores)
        memory.append(server.rss_bytes() / 2**20)
        run.say(
            f"turn {turn + 1}: nothing streamed {silent[-1].rows:.0f} rows/s (clients on {silent[-1].client_cores:.2f} "
            f"cores), every state {streamed[-1].rows:.0f} ({streamed[-1].client_cores:.2f})"
        )
    server.stop()
    return [
        Figure(
            f"{STREAMS} streams, half of the readers slow / nothing streamed",
            ratios([r.rows for r in streamed], [r.rows for r in silent]),
            ">= 0.9",
            note=f"the clients took {spread(cores)} cores more",
        ),
        Figure("memory of the server with them, after each turn", memory, unit="MiB"),
    ]


def first_state(run: Run) -> list[Figure]:
    """From becoming active to the first state, in ticks, on a server whose batches are just full."""
    server = run.server("service")
    clients = server.model.batch_sizes[-1] * server.model.replicas
    ticks = []
    for _ in range(run.turns):
        with Load(
            server, "--clients", str(clients), "--n", "1", "--steps", "10,20,50", "--sampler", "ddim", "--stream"
        ) as load:
            before, after, _ = load.window(run.seconds)

        def mean(name: str) -> float:
            count = after.total(f"{name}_count") - before.total(f"{name}_count")
            return (after.total(f"{name}_sum") - before.total(f"{name}_sum")) / count

        # Means, because the mean of a difference is the difference of the means.
        ticks.append((mean("first_state_seconds") - mean("queue_seconds")) / mean("tick_seconds"))
    server.stop()
    return [
        Figure(
            "first state after becoming active, mean",
            ticks,
            "<= 2",
            unit="ticks",
            note=f"{clients} clients, batches of up to {server.model.batch_sizes[-1]}",
        )
    ]
