"""What the figures ought to be, and what they must not be worse than."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`target`: what is aimed at. `limit`: `./dev bench --check` fails where the median is worse. Limits are a little
    worse than what docs/performance.md has, so that what got worse is noticed whether or not the target is met."""

    sign: str = ">="  # or "<="
    target: float | None = None
    limit: float | None = None

    def admits(self, bound: float, value: float) -> bool:
        return value >= bound if self.sign == ">=" else value <= bound

    def say(self, bound: float | None) -> str:
        return "" if bound is None else f"{self.sign} {bound:g}"


NO_GOAL = Goal()
GOALS = {
    "saturation / same call": Goal(">=", target=0.97, limit=0.92),
    "saturation / plain loop": Goal(">=", target=1.10, limit=1.15),
    "saturation / plain loop with jemalloc": NO_GOAL,
    "saturation / plain loop in channels_last": NO_GOAL,
    "float32, aotinductor": Goal(">=", limit=1.20),
    "bfloat16, torchscript": Goal(">=", target=1.55, limit=1.85),
    "bfloat16, aotinductor": Goal(">=", target=1.65, limit=2.80),
    "one client, tuned for latency": Goal(">=", target=1.1, limit=1.1),
    "one client, tuned for throughput": Goal(">=", target=0.8, limit=0.85),
    "clients, step": Goal(">=", limit=2.4),
    "clients, request": Goal(">=", limit=2.4),
    "clients, none": Goal(">=", limit=1.7),
    "mixture": Goal(">=", limit=0.92),
    "invariance": Goal(">=", limit=0.93),
    "p99, step / request": Goal("<=", target=0.5, limit=0.5),
    "p90, step / request": NO_GOAL,
    "max, step / request": Goal("<=", limit=0.35),
    "streams": Goal(">=", target=0.9, limit=0.85),
    "first state": Goal("<=", target=2, limit=1.5),
    "overhead, share": Goal("<=", target=1, limit=0.3),
    "overhead, tick": Goal("<=", target=100, limit=80),
    "null denoiser, rows": Goal(">=", target=200_000, limit=1_000_000),
    "null denoiser, tick": Goal("<=", target=100, limit=20),
    "null denoiser, tick with noise": Goal("<=", target=100, limit=80),
    "memory of a chain": Goal("<=", target=1024, limit=1150),
    "start": Goal("<=", target=3, limit=2.5),
    "two servers": Goal(">=", target=1.8, limit=1.75),
}
