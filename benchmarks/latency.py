"""How long requests take under Poisson load: step batching, its policies, and request batching, side by side."""

from benchmarks.figures import Figure, ratios
from benchmarks.load import Run, bench, rate

STEPS = (10, 20, 50, 250)
MIXED = ("--n", "1", "--steps", ",".join(map(str, STEPS)), "--sampler", "ddim")
SHARE = 0.7  # of the capacity of the slowest
WAYS = {
    "request": ("--batching", "request"),
    "step, fcfs": ("--policy", "fcfs"),
    "step, srpf": ("--policy", "srpf"),
    "step, fair": ("--policy", "fair"),
}


def poisson(run: Run) -> list[Figure]:
    """p50 and p99 by step count at 0.7 of capacity, requests arriving as a Poisson process."""
    servers = {way: run.server(way, "--max-waiting", "10000", *flags) for way, flags in WAYS.items()}
    # Of both kinds of batching; the policies only say who goes first.
    capacity = {
        way: rate(servers[way], 2 * run.seconds, "--clients", "64", *MIXED, settle=4).rows
        for way in ("request", "step, fcfs")
    }
    rows = sum(STEPS) / len(STEPS)
    arrivals = SHARE * min(capacity.values()) / rows
    run.say(
        f"capacity: request batching {capacity['request']:.0f} rows/s, step batching {capacity['step, fcfs']:.0f}; "
        f"so {arrivals:.2f} requests/s of {rows:.1f} rows"
    )
    results = {way: [] for way in WAYS}
    for turn in range(max(1, run.turns // 2)):
        for way, server in servers.items():
            # The same arrivals for all of a turn.
            results[way].append(
                bench(
                    server,
                    "--rate",
                    f"{arrivals:.4f}",
                    "--duration",
                    f"{15 * run.seconds}s",
                    "--warm-up",
                    "5s",
                    "--seed",
                    str(turn),
                    *MIXED,
                )
            )
    for server in servers.values():
        server.stop()

    def values(way: str, steps: int, which: str) -> list[float]:
        return [
            1000 * next(r for r in result["by_steps"] if r["steps"] == steps)["total_seconds"][which]
            for result in results[way]
        ]

    def count(way: str, steps: int) -> int:
        return sum(
            next(r for r in result["by_steps"] if r["steps"] == steps)["total_seconds"]["count"]
            for result in results[way]
        )

    figures = []
    for way in WAYS:
        if way != "request":
            figures.append(
                Figure(
                    f"p99 of 10 steps at {SHARE} of capacity: {way} / request batching",
                    ratios(values(way, 10, "p99"), values("request", 10, "p99")),
                    "<= 0.5" if way == "step, fcfs" else "",
                )
            )
    for way in WAYS:
        for steps in STEPS:
            for which in ("p50", "p99"):
                figures.append(
                    Figure(
                        f"{which} of {steps} steps, {way}",
                        values(way, steps, which),
                        unit="ms",
                        note=f"{count(way, steps)} requests",
                    )
                )
    return figures
