"""What there is besides the denoiser call: time on the engine's thread, memory of a chain, time to start."""

import subprocess
import time

from benchmarks.figures import Figure
from benchmarks.load import BIN, DIGITS, Load, Run, pb


def null_denoiser(run: Run) -> list[Figure]:
    """benchmarks/null_denoiser.cc: one engine whose denoiser does nothing."""
    rows, ticks, noisy_ticks = [], [], []
    for _ in range(run.turns):
        for values, sampler, batch in ((rows, "ddim", 64), (ticks, "ddim", 16), (noisy_ticks, "ddpm", 16)):
            out = subprocess.run(
                [BIN / "null_denoiser", DIGITS, sampler, str(batch), str(run.seconds)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            rate, microseconds = map(float, out.split())
            values.append(rate if values is rows else microseconds)
    return [
        Figure("one engine, null denoiser, DDIM 28x28, batches of 64", rows, ">= 200000", unit="rows/s"),
        Figure("a tick with a null denoiser at 16 rows of 28x28, DDIM", ticks, "<= 100", unit="µs"),
        Figure("the same, DDPM, with the noise", noisy_ticks, "<= 100", unit="µs"),
    ]


def overhead(run: Run) -> list[Figure]:
    """Engine time outside the denoiser call, by the service's own metrics, at 16 rows."""
    server = run.server("service", "--batch-sizes", "1,2,4,8,16")
    share, microseconds = [], []
    for _ in range(run.turns):
        with Load(server, "--clients", "4", "--n", "16", "--steps", "50", "--sampler", "ddim") as load:
            before, after, _ = load.window(run.seconds)

        def delta(name):
            return after.total(name) - before.total(name)

        share.append(100 * delta("engine_overhead_seconds_sum") / delta("tick_seconds_sum"))
        microseconds.append(1e6 * delta("engine_overhead_seconds_sum") / delta("engine_overhead_seconds_count"))
    server.stop()
    return [
        Figure("engine time outside the denoiser call, share of a tick", share, "<= 1", unit="%"),
        Figure(
            "engine time outside the denoiser call, a tick of 16 rows",
            microseconds,
            "<= 100",
            unit="µs",
            note="with clients on the same cores",
        ),
    ]


# Requests' chains, and what a chain of DDIM on 28x28 must have: one register of floats.
CHAINS = (0, 1024, 4096, 16384, 32768, 65536)
REGISTER_BYTES = 4 * 784


def memory(run: Run) -> list[Figure]:
    """Resident memory against the number of chains."""
    server = run.server("service", "--max-active", "131072", "--max-waiting", "8192", "--max-samples", "64")
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
    server.stop()
    # From the first thousands on, which fit in memory that the allocator had kept.
    slope = (resident[CHAINS[-1]] - resident[CHAINS[3]]) / (CHAINS[-1] - CHAINS[3])
    return [
        Figure(
            "memory of a chain beyond its register",
            [slope - REGISTER_BYTES],
            "<= 1024",
            unit="bytes",
            note=f"{resident[0] / 2**20:.0f} MiB without chains, {resident[CHAINS[-1]] / 2**20:.0f} with {CHAINS[-1]}",
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
    return [Figure("start to ready, without tuning", seconds, "<= 3", unit="s")]
