"""The runs of docs/scaling.md: its tables and its picture, out of build/bin/simulate.

    python -m simulation.scaling            simulates; writes docs/images/scaling.svg and the tables
    python -m simulation.scaling record     measures the denoiser's calls; writes simulation/digits.json
    python -m simulation.scaling check      the same load on a real server, beside the simulation

Needs the programs of a build (DENOISE_BUILD, default ./build). `record` and `check` measure, so they want a machine
that does nothing else; what simulates does not.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from harness.paths import BIN, DIGITS, ROOT
from harness.server import Server
from simulation import svg

CURVE = Path(__file__).with_name("digits.json")
PAGE = ROOT / "docs" / "scaling.md"
PICTURE = ROOT / "docs" / "images" / "scaling.svg"

STEPS = (10, 20, 50, 250)
# Five clients a replica; each of them asks about once a second.
FLEETS = {10: (1, 2), 1_000: (25, 8), 100_000: (2_500, 8)}
# Simulated, before and while is counted: so that there are some 40,000 requests of each step count, 10,000 with 10
# clients.
WARM_UP = {10: 20, 1_000: 10, 100_000: 3}
SECONDS = {10: 5400, 1_000: 180, 100_000: 2}
WAYS = [("step", "fcfs"), ("step", "srpf"), ("step", "fair"), ("request", "fcfs"), ("none", "fcfs")]


# --- The denoiser's calls.


def record(arguments) -> None:
    times: dict[int, list[float]] = {}
    for turn in range(arguments.turns):
        report = subprocess.run(
            [BIN / "denoised", "--examine", DIGITS, "--batch-sizes", *map(str, range(1, 17))],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for rows, milliseconds in re.findall(r"^ +(\d+) +([\d.]+) +\d+ +(?:yes|no) ", report, re.MULTILINE):
            times.setdefault(int(rows), []).append(float(milliseconds) / 1000)
        print(f"  turn {turn + 1}: {max(size / min(t) for size, t in times.items()):.0f} rows/s at best", flush=True)
    # The least of several: what disturbs a call only ever makes it longer.
    curve = {
        "what": f"one replica of one thread, models/digits, {cpu()}",
        "command": "python -m simulation.scaling record",
        "batch_sizes": sorted(times),
        "denoiser_seconds": [round(min(times[size]), 5) for size in sorted(times)],
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in curve.items())
    CURVE.write_text(f"{{\n{lines}\n}}\n")
    print(f"wrote {CURVE.relative_to(ROOT)}")


def cpu() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


# --- Simulating.


def simulate(**flags) -> dict:
    command = [BIN / "simulate", "--curve", CURVE]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def capacity(replicas: int, batching: str) -> float:
    """Of one server, as a share of what its replicas do at their best batch."""
    answer = simulate(replicas=replicas, batching=batching, capacity=True)
    return answer["rows_per_second"] / answer["best"]


def at_each_scale(pool: ThreadPoolExecutor) -> dict:
    """(clients, batching, policy): what it comes to at 0.7 of the smaller capacity of step and request batching,
    where that is nine tenths of its own or less."""
    runs = {}
    for clients, (servers, replicas) in sorted(FLEETS.items(), reverse=True):
        bears = {batching: capacity(replicas, batching) for batching in ("step", "request", "none")}
        load = 0.7 * min(bears["step"], bears["request"])
        for batching, policy in WAYS:
            if load > 0.9 * bears[batching]:
                continue  # its queue grows for ever, or nearly
            runs[clients, batching, policy] = pool.submit(
                simulate,
                clients=clients,
                servers=servers,
                replicas=replicas,
                load=load,
                batching=batching,
                policy=policy,
                warm_up=WARM_UP[clients],
                duration=SECONDS[clients],
            )
    return {key: run.result() for key, run in sorted(runs.items(), key=lambda item: item[0][0])}


def over_load(pool: ThreadPoolExecutor) -> dict:
    """(batching, policy): {load: what it comes to}, of one server of 8 replicas, where it can bear the load."""
    bears = {batching: capacity(8, batching) for batching in ("step", "request", "none")}
    runs = {
        (way, load): pool.submit(
            simulate, clients=40, replicas=8, load=load, batching=way[0], policy=way[1], duration=800, max_backlog=0
        )
        for way in WAYS
        for load in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96)
        if load < 0.98 * bears[way[0]]
    }
    curves: dict = {way: {} for way in WAYS}
    for (way, load), run in runs.items():
        curves[way][load] = run.result()
    return curves


def with_a_greedy_tenant(pool: ThreadPoolExecutor) -> dict:
    """(policy, seconds of backlog): 1.2 times what can be done is asked for, most of it by one tenant."""
    runs = {
        (policy, backlog): pool.submit(
            simulate, clients=20, replicas=2, load=1.2, greedy=0.6, policy=policy, duration=600, max_backlog=backlog
        )
        for backlog in (0, 10)
        for policy in ("fcfs", "srpf", "fair")
    }
    return {key: run.result() for key, run in runs.items()}


# --- Writing.


def milliseconds(value: float) -> str:
    return f"{1000 * value:,.0f}"


def latencies(run: dict) -> list[str]:
    return [f"{milliseconds(one['p50'])} / {milliseconds(one['p99'])}" for one in run["by_steps"]]


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table_of_scales(runs: dict) -> str:
    rows = []
    for (clients, batching, policy), run in runs.items():
        assert run["refused"] == 0, (clients, batching, policy)
        servers, replicas = FLEETS[clients]
        rows.append(
            [
                f"{clients:,}",
                f"{servers:,} × {replicas}",
                batching if batching != "step" else f"step, {policy}",
                f"{run['rows_per_second']:,.0f}",
                f"{run['rows_per_batch']:.1f}",
                *latencies(run),
            ]
        )
    heads = ["clients", "servers × replicas", "batching", "rows/s", "rows a call"]
    return table(heads + [f"{steps} steps" for steps in STEPS], rows)


def table_of_greed(runs: dict) -> str:
    rows = [
        [
            f"{backlog} s" if backlog else "no bound",
            policy,
            *latencies(run),
            f"{milliseconds(run['greedy']['p50'])} / {milliseconds(run['greedy']['p99'])}",
        ]
        for (policy, backlog), run in runs.items()
    ]
    return table(["`--max-backlog`", "policy", *(f"{steps} steps" for steps in STEPS), "the greedy tenant"], rows)


def put_on_page(name: str, text: str) -> None:
    begin, end = f"<!-- scaling.py: {name} -->\n", f"<!-- end of {name} -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    PAGE.write_text(before + begin + text + "\n" + end + after)


def draw(scales: dict, loads: dict) -> None:
    ways = {
        ("none", "fcfs"): ("none", "#777777"),
        ("request", "fcfs"): ("request", "#d95f02"),
        ("step", "fcfs"): ("step, fcfs", "#1b7f5f"),
        ("step", "srpf"): ("step, srpf", "#2166ac"),
        ("step", "fair"): ("step, fair", "#b2187a"),
    }

    def p99(run, steps):
        return next(one["p99"] for one in run["by_steps"] if one["steps"] == steps)

    panels = [
        svg.Panel(
            f"p99 of {steps} steps, a server of 8 replicas",
            "load, of its capacity",
            "seconds",
            [
                svg.Line(name, colour, [(load, p99(run, steps)) for load, run in loads[way].items()])
                for way, (name, colour) in ways.items()
            ],
            x_ticks=[0.2, 0.4, 0.6, 0.8, 1.0],
        )
        for steps in (10, 250)
    ]
    dashes = {10: "1 4", 1_000: "6 4", 100_000: ""}
    panels.append(
        svg.Panel(
            "p99 by step count, at 0.7 of the capacity",
            "steps of the request",
            "seconds",
            [
                svg.Line(
                    f"{batching}, {clients:,} clients",
                    colour,
                    [(steps, p99(scales[clients, batching, "fcfs"], steps)) for steps in STEPS],
                    dashes[clients],
                )
                for batching, colour in (("request", "#d95f02"), ("step", "#1b7f5f"))
                for clients in FLEETS
            ],
            x_ticks=list(STEPS),
            x_is_log=True,
            legend_is_low=True,
        )
    )
    PICTURE.write_text(svg.draw(panels))


def run_all(arguments) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scales = at_each_scale(pool)
        loads = over_load(pool)
        greed = with_a_greedy_tenant(pool)
    draw(scales, loads)
    for name, text in (("scales", table_of_scales(scales)), ("greed", table_of_greed(greed))):
        put_on_page(name, text)
        print(text, end="\n\n")
    largest = max((run for run in scales.values()), key=lambda run: run["ticks"])
    print(
        f"{sum(run['cpu_seconds'] for run in scales.values()):.0f} s of CPU time for the first table; "
        f"{1e6 * largest['cpu_seconds'] / largest['ticks']:.2f} µs a tick where there were {largest['ticks']:,}"
    )
    print(f"wrote {PICTURE.relative_to(ROOT)} and the tables of {PAGE.relative_to(ROOT)}")


# --- Against a real server.


def check(arguments) -> None:
    curve = json.loads(CURVE.read_text())
    best = 2 * max(size / time for size, time in zip(curve["batch_sizes"], curve["denoiser_seconds"], strict=True))
    mean_steps = sum(STEPS) / len(STEPS)
    smaller = min(capacity(2, "step"), capacity(2, "request"))
    rows = []
    for batching in ("step", "request"):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            server = Server(
                Path(folder),
                "--model",
                str(DIGITS),
                "--devices",
                "cpu:2",
                "--threads",
                "1",
                "--batching",
                batching,
                "--batch-sizes",
                ",".join(map(str, curve["batch_sizes"])),
            )
            stack.callback(server.kill)
            for share in (0.5, 0.7):
                load = share * smaller
                real = json.loads(
                    subprocess.run(
                        [
                            BIN / "denoise",
                            "bench",
                            "--address",
                            server.address,
                            "--rate",
                            f"{load * best / mean_steps:.4f}",
                            "--steps",
                            ",".join(map(str, STEPS)),
                            "--sampler",
                            "ddim",
                            "--class",
                            "3",
                            "--guidance",
                            "1",
                            "--warm-up",
                            "10s",
                            "--duration",
                            f"{arguments.seconds}s",
                            "--json",
                        ],
                        check=True,
                        capture_output=True,
                        text=True,
                    ).stdout
                )
                simulated = simulate(replicas=2, load=load, batching=batching, duration=7200)
                for one, other in zip(real["by_steps"], simulated["by_steps"], strict=True):
                    assert one["steps"] == other["steps"]
                    total = one["total_seconds"]
                    rows.append(
                        [
                            batching,
                            f"{share}",
                            str(one["steps"]),
                            str(total["count"]),
                            *(
                                f"{milliseconds(total[p])} / {milliseconds(other[p])} = {total[p] / other[p]:.2f}"
                                for p in ("p50", "p90")  # some two hundred requests bear no p99
                            ),
                        ]
                    )
                print(
                    f"  {batching} at {share}: {real['rows_per_second']:.0f} rows/s, simulated "
                    f"{simulated['rows_per_second']:.0f}; the client took {real['client_cores']:.2f} cores",
                    flush=True,
                )
            server.stop()
    text = table(["batching", "load", "steps", "requests", "p50, real / simulated", "p90, real / simulated"], rows)
    put_on_page("check", text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=run_all)
    commands = parser.add_subparsers()
    command = commands.add_parser("record", help="measure the denoiser's calls")
    command.add_argument("--turns", type=int, default=5)
    command.set_defaults(run=record)
    command = commands.add_parser("check", help="the same load on a real server")
    command.add_argument("--seconds", type=int, default=120, help="of each of four loads")
    command.set_defaults(run=check)
    parsed = parser.parse_args()
    parsed.run(parsed)
