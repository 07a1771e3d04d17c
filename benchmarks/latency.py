"""How long requests take under Poisson load: step batching, its policies, and request batching, side by side."""

from itertools import count

from benchmarks.figures import Figure, ratios, tail
from benchmarks.goals import GOALS, NO_GOAL
from benchmarks.load import Run

STEPS = (10, 20, 50, 250)
MIXED = ("--n", "1", "--steps", ",".join(map(str, STEPS)), "--sampler", "ddim")
SHARE = 0.7  # of the capacity of the slowest
WAYS = {
    "request": ("--batching", "request"),
    "step, fcfs": ("--policy", "fcfs"),
    "step, srpf": ("--policy", "srpf"),
    "step, fair": ("--policy", "fair"),
}
REQUEST, STEP = "request", "step, fcfs"


def poisson(run: Run) -> list[Figure]:
    """Latency by step count at 0.7 of capacity, requests arriving as a Poisson process."""
    servers = {way: run.server(way, *flags) for way, flags in WAYS.items()}
    # Of both kinds of batching; the policies only say who goes first.
    capacity = {way: run.rate(servers[way], "--clients", "48", *MIXED, settle=4).rows for way in (REQUEST, STEP)}
    rows = sum(STEPS) / len(STEPS)
    arrivals = SHARE * min(capacity.values()) / rows
    run.note(
        f"capacity: request batching {capacity[REQUEST]:.0f} rows/s, step batching {capacity[STEP]:.0f}; "
        f"so {arrivals:.2f} requests/s of {rows:.1f} rows"
    )

    def measure(way: str):
        seeds = count()  # the same arrivals for all of a turn
        return lambda: run.bench(
            servers[way],
            "--rate",
            f"{arrivals:.4f}",
            "--duration",
            f"{15 * run.seconds:g}s",
            "--warm-up",
            "5s",
            *MIXED,
            seed=next(seeds),
        )

    results = run.in_turns(
        {way: measure(way) for way in WAYS}, lambda got: f"{got['requests']} requests", turns=max(1, run.turns // 2)
    )

    def of(way: str, steps: int) -> list[dict]:
        """One a turn."""
        return [next(r for r in result["by_steps"] if r["steps"] == steps)["total_seconds"] for result in results[way]]

    fewest = min(latencies["count"] for way in WAYS for steps in STEPS for latencies in of(way, steps))
    which = tail(fewest)  # the same for all, so that they compare
    if which != "p99":
        run.note(
            f"{which} in place of p99, which wants 1,000 requests of each step count a turn and not {fewest}: --seconds"
        )

    def values(way: str, steps: int, which: str) -> list[float]:
        return [1000 * latencies[which] for latencies in of(way, steps)]

    figures = [
        Figure(
            f"{which} of 10 steps: {way} / request batching",
            ratios(values(way, 10, which), values(REQUEST, 10, which)),
            GOALS[f"{which}, step / request"] if way == STEP else NO_GOAL,
        )
        for way in WAYS
        if way != REQUEST
    ]
    for way in WAYS:
        for steps in STEPS:
            requests = f"{sum(latencies['count'] for latencies in of(way, steps))} requests"
            for quantile in ("p50", which):
                figures.append(
                    Figure(
                        f"{quantile} of {steps} steps, {way}", values(way, steps, quantile), unit="ms", note=requests
                    )
                )
    return figures
