"""What is said about speed, measured side by side in one run: a table for each comparison, its parameters beside it.

    python -m benchmarks.bench [NAME…] [--turns N] [--seconds S] [--check] [--json FILE] [--flags …]

Needs the programs of a build (DENOISE_BUILD, default ./build). Machines are noisy: what is compared takes turns, what
counts is the median of the turns' ratios, and their spread says how much to believe it.
"""

import argparse
import json
import os
import platform
import re
import tempfile
from pathlib import Path

from benchmarks import around_the_call, latency, mixture, streaming, throughput, two_servers
from benchmarks.figures import table
from benchmarks.load import Run

COMPARISONS = {
    "saturation": throughput.saturation,
    "precisions": throughput.precisions,
    "one-client": throughput.one_client,
    "clients": throughput.many_clients,
    "mixture": mixture.mixture,
    "invariance": throughput.invariance,
    "poisson": latency.poisson,
    "streams": streaming.streams,
    "first-state": streaming.first_state,
    "overhead": around_the_call.overhead,
    "null-denoiser": around_the_call.null_denoiser,
    "memory": around_the_call.memory,
    "start": around_the_call.start,
    "two-servers": two_servers.two_servers,
}


def machine() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMPARISONS)}; none: all")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of a slice")
    parser.add_argument("--check", action="store_true", help="fail where a figure is worse than its limit (goals.py)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="further flags of every denoised; last")
    parsed = parser.parse_args(arguments)
    unknown = sorted(set(parsed.names) - set(COMPARISONS))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}: name some of {', '.join(COMPARISONS)}")

    tables, measured, worse = [], {}, []
    common = f"{machine()}; {parsed.turns} turns, slices of {parsed.seconds:g} s"
    with tempfile.TemporaryDirectory(prefix="denoise-bench-") as folder:
        for name in parsed.names or COMPARISONS:
            print(f"{name}: {COMPARISONS[name].__doc__}", flush=True)
            with Run(parsed.turns, parsed.seconds, parsed.flags, Path(folder), [common]) as run:
                figures = COMPARISONS[name](run)
            tables.append("\n".join([f"## {name}", "", table(figures), "", *(f"- {line}" for line in run.parameters)]))
            measured[name] = {"parameters": run.parameters, "figures": [figure.as_json() for figure in figures]}
            worse += [figure for figure in figures if not figure.passes]
    print("\n" + "\n\n".join(tables))
    if parsed.json:
        parsed.json.write_text(json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    if parsed.check and worse:
        raise SystemExit(
            "worse than its limit:\n"
            + "\n".join(
                f"  {figure.name}: {figure.median:g}, not {figure.goal.say(figure.goal.limit)}" for figure in worse
            )
        )


if __name__ == "__main__":
    main()
