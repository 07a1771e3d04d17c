"""What there is besides the denoiser call: time on the engine's thread, memory of a chain, time to start."""

import subprocess
import time

from benchmarks.figures import Figure
from benchmarks.goals import GOALS
from benchmarks.load import BIN, DIGITS, Run, pb


def null_denoiser(run: Run) -> list[Figure]:
    """benchmarks/null_denoiser.cc: one engine whose denoiser does nothing."""

    def measure(sampler: str, batch: int) -> tuple[float, float]:
        """Rows a second, microseconds a tick."""
        out = subprocess.run(
            [BIN / "null_denoiser", DIGITS, sampler, str(batch), str(run.seconds)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        rate, microseconds = map(float, out.split())
        return rate, microseconds

    results = run.in_turns(
        {
            "DDIM by 64": lambda: measure("ddim", 64),
            "DDIM by 16": lambda: measure("ddim", 16),
            "DDPM by 16": lambda: measure("ddpm", 16),
        },
        lambda got: f"{got[0]:.0f} rows/s, {got[1]:.1f} µs a tick",
    )
    rows = [rate for rate, _ in results["DDIM by 64"]]
    ticks, noisy_ticks = ([microseconds for _, microseconds in results[f"{name} by 16"]] for name in ("DDIM", "DDPM"))
    return [
        Figure(
            "one engine, null denoiser, DDIM 28x28, batches of 64", rows, GOALS["null denoiser, rows"], unit="rows/s"
        ),
        Figure("a tick with a null denoiser at 16 rows of 28x28, DDIM", ticks, GOALS["null denoiser, tick"], unit="µs"),
        Figure("the same, DDPM, with the noise", noisy_ticks, GOALS["null denoiser, tick with noise"], unit="µs"),
    ]


def overhead(run: Run) -> list[Figure]:
    """Engine time outside the denoiser call, by the service's own metrics, at 16 rows."""
    server = run.server("service", "--batch-sizes", "1,2,4,8,16")
    share, microseconds = [], []
    for _ in range(run.turns):
        with run.load(server, "--clients", "4", "--n", "16", "--steps", "50", "--sampler", "ddim") as load:
            before, after, _ = load.window(run.seconds)

        def delta(name):
            return after.total(name) - before.total(name)

        share.append(100 * delta("engine_overhead_seconds_sum") / delta("tick_seconds_sum"))
        microseconds.append(1e6 * delta("engine_overhead_seconds_sum") / delta("engine_overhead_seconds_count"))
    return [
        Figure("engine time outside the denoiser call, share of a tick", share, GOALS["overhead, share"], unit="%"),
        Figure(
            "engine time outside the denoiser call, a tick of 16 rows",
            microseconds,
            GOALS["overhead, tick"],
            unit="µs",
            note="with clients on the same cores",
        ),
    ]


# Requests' chains, and what a chain of DDIM on 28x28 must have: one register of floats.
CHAINS = (0, 1024, 4096, 16384, 32768, 65536)
REGISTER_BYTES = 4 * 784


def memory(run: Run) -> list[Figure]:
    """Resident memory against the number of chains."""
    # Far more than a server takes in as it is shipped.
    server = run.server("service", "--max-active", "131072", "--max-waiting", "8192", "--max-backlog", "0")
    calls, resident = [], {}
    for chains in CHAINS:
        while 64 * len(calls) < chains:
            request = pb.SampleRequest(
                num_samples=64,
                class_labels=[3],
                guidance_scale=1,
                sampler=pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=1000),
            )
            calls.append(server.stub.Sample(request))
            next(calls[-1])  # Accepted
        server.until_busy(chains)
        time.sleep(2)
        resident[chains] = server.rss_bytes()
        run.say(f"{chains} chains: {resident[chains] / 2**20:.1f} MiB resident")
    for call in calls:
        call.cancel()
    server.until_idle(within=60)
    # From the first thousands on, which fit in memory that the allocator had kept.
    slope = (resident[CHAINS[-1]] - resident[CHAINS[3]]) / (CHAINS[-1] - CHAINS[3])
    mebibytes = {chains: f"{size / 2**20:.0f}" for chains, size in resident.items()}
    return [
        Figure(
            "memory of a chain beyond its register",
            [slope - REGISTER_BYTES],
            GOALS["memory of a chain"],
            unit="bytes",
            note=f"{mebibytes[0]} MiB without chains, {mebibytes[CHAINS[-1]]} with {CHAINS[-1]}",
        )
    ]


def start(run: Run) -> list[Figure]:
    """From exec to the ready line, without tuning."""
    seconds = []
    for _ in range(run.turns):
        begin = time.monotonic()
        server = run.server("start", "--tune-seconds", "0")
        seconds.append(time.monotonic() - begin)
        server.stop()
    return [Figure("start to ready, without tuning", seconds, GOALS["start"], unit="s")]
