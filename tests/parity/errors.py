"""The worst errors beside diffusers that were seen, what is therefore allowed, and docs/parity.md, which has both.

A group's name is a sampler's, and what sets its runs apart from others': "ddim, thresholded".
"""

import functools
import json
import math

from tables import REPOSITORY

RECORD = REPOSITORY / "tests" / "parity" / "errors.json"
PAGE = REPOSITORY / "docs" / "parity.md"

# Of the worst that was seen: errors vary with a machine's order of summation.
MARGIN = 5

# Groups that are columns of a table of their own, by what their names end with.
CHAINS = ("own times", "from an image", "inpainting", "RePaint")
SERVED = ("served", "served, cosine", "served, flow", "bundled model")


@functools.cache
def recorded():
    return json.loads(RECORD.read_text())


def allowed(group):
    assert group in recorded(), f"no error is recorded for {group}: run ./dev parity record"
    return recorded()[group]["allowed"]


def record(errors):
    """`errors`: of every group runs, worst error, and what is allowed in any case. Writes the record and the page."""
    groups = {}
    for group, (runs, error, least) in sorted(errors.items()):
        worst = rounded(error)
        groups[group] = {"runs": runs, "worst": worst, "allowed": max(rounded(MARGIN * worst), least)}
    lines = ",\n".join(f"  {json.dumps(group)}: {json.dumps(value)}" for group, value in groups.items())
    RECORD.write_text(f"{{\n{lines}\n}}\n")
    recorded.cache_clear()
    PAGE.write_text(with_tables(PAGE.read_text()))


def rounded(error):
    """Up, to two digits."""
    if error == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(error)) - 1)
    return float(f"{math.ceil(error / unit) * unit:.1e}")


def with_tables(page):
    """The page, with tables of what is recorded."""
    for name, rows in (
        ("tables", list_of_groups(CHAINS + SERVED)),
        ("chains", by_column(CHAINS)),
        ("service", by_column(SERVED)),
    ):
        begin, end = f"<!-- parity: {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        page = before + begin + text + "\n" + end + rest.split(end, 1)[1]
    return page


def list_of_groups(but_for):
    groups = {group: one for group, one in recorded().items() if not group.endswith(but_for)}
    return [["sampler", "runs", "worst error", "allowed"]] + [
        [group, str(one["runs"]), written(one["worst"]), written(one["allowed"])] for group, one in groups.items()
    ]


def by_column(columns):
    """A line a sampler."""
    samplers = sorted(
        {
            group.removesuffix(f", {column}")
            for group in recorded()
            for column in columns
            if group.endswith(f", {column}")
        }
    )
    return [["sampler", *(column.removeprefix("served, ") for column in columns)]] + [
        [sampler, *(cell(recorded().get(f"{sampler}, {column}")) for column in columns)] for sampler in samplers
    ]


def cell(one):
    return f"{written(one['worst'])} of {written(one['allowed'])} ({one['runs']})" if one else "–"


def written(error):
    digits, exponent = f"{error:.1e}".split("e")
    return f"{float(digits):g}e{int(exponent)}" if error else "0"
