"""Everything that is said about speed, measured side by side in one run, as one table.

    python -m benchmarks.bench [NAME…] [--turns N] [--seconds S] [--json FILE] [--flags …]

Needs the programs of a build (DENOISE_BUILD, default ./build). Machines are noisy: what is compared takes turns, what
counts is the median of the turns' ratios, and their spread says how much to believe it.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import around_the_call, latency, streaming, throughput, two_servers
from benchmarks.figures import table
from benchmarks.load import Run

COMPARISONS = {
    "saturation": throughput.saturation,
    "precisions": throughput.precisions,
    "one-client": throughput.one_client,
    "clients": throughput.many_clients,
    "mixture": throughput.mixture,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMPARISONS)}; none: all")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of a slice")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="further flags of every denoised; last")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(COMPARISONS))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}: name some of {', '.join(COMPARISONS)}")

    figures = []
    with tempfile.TemporaryDirectory(prefix="denoise-bench-") as folder:
        run = Run(arguments.turns, arguments.seconds, arguments.flags, Path(folder))
        for name in arguments.names or COMPARISONS:
            print(f"{name}: {COMPARISONS[name].__doc__}", flush=True)
            figures += COMPARISONS[name](run)
    print()
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
