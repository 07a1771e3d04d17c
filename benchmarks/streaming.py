"""What streaming costs, and how soon the first state comes."""

from benchmarks.figures import Figure, ratios, spread
from benchmarks.goals import GOALS
from benchmarks.load import Rate, Run

STREAMS = 1000


def streams(run: Run) -> list[Figure]:
    """1,000 streams open at once, every state streamed and half of the readers slow, beside nothing streamed."""
    # More than a server takes in as it is shipped: 18 s of work here.
    server = run.server("service", "--max-waiting", "4000", "--max-active", "4000", "--max-backlog", "0")
    load = ("--clients", str(STREAMS), "--n", "1", "--steps", "20", "--sampler", "ddim")
    memory = []

    def streamed() -> Rate:
        got = run.rate(server, *load, "--stream", "--slow-readers", "0.5/200ms", settle=4)
        memory.append(server.rss_bytes() / 2**20)
        return got

    results = run.in_turns(
        {"nothing streamed": lambda: run.rate(server, *load, settle=4), "every state": streamed},
        lambda got: f"{got.rows:.0f} rows/s (clients on {got.client_cores:.2f} cores)",
    )
    silent, streamed = results["nothing streamed"], results["every state"]
    cores = [a.client_cores - b.client_cores for a, b in zip(streamed, silent, strict=True)]
    return [
        Figure(
            f"{STREAMS} streams, half of the readers slow / nothing streamed",
            ratios([got.rows for got in streamed], [got.rows for got in silent]),
            GOALS["streams"],
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
        with run.load(
            server, "--clients", str(clients), "--n", "1", "--steps", "10,20,50", "--sampler", "ddim", "--stream"
        ) as load:
            before, after, _ = load.window(run.seconds)

        def mean(name: str) -> float:
            count = after.total(f"{name}_count") - before.total(f"{name}_count")
            return (after.total(f"{name}_sum") - before.total(f"{name}_sum")) / count

        # Means, because the mean of a difference is the difference of the means.
        ticks.append((mean("first_state_seconds") - mean("queue_seconds")) / mean("tick_seconds"))
    return [Figure("first state after becoming active, mean", ticks, GOALS["first state"], unit="ticks")]
