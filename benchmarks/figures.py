"""What is measured: ratios, turn by turn, beside what they ought to be."""

import statistics
from dataclasses import dataclass

from benchmarks.goals import NO_GOAL, Goal


@dataclass
class Figure:
    """One line of a table. `values`: one a turn."""

    name: str
    values: list[float]
    goal: Goal = NO_GOAL
    unit: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if self.goal.target is None:
            return ""
        return "met" if self.goal.admits(self.goal.target, self.median) else "not met"

    @property
    def passes(self) -> bool:
        """Whether --check does."""
        return self.goal.limit is None or self.goal.admits(self.goal.limit, self.median)

    def as_json(self) -> dict:
        return {
            "name": self.name,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": self.values,
            "unit": self.unit,
            "target": self.goal.target,
            "verdict": self.verdict,
            "limit": self.goal.limit,
            "note": self.note,
        }


def digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 50 else f"{value:.3f}"


def spread(values: list[float]) -> str:
    return f"{digits(statistics.median(values))} ({digits(min(values))} to {digits(max(values))})"


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Turn by turn, since only what was measured side by side compares."""
    return [a / b for a, b in zip(over, under, strict=True)]


def tail(samples: int) -> str:
    """The highest quantile that so many samples bear: ten of them or more lie beyond it."""
    return "p99" if samples >= 1000 else "p90" if samples >= 100 else "max"


def table(figures: list[Figure]) -> str:
    """Markdown."""
    rows = [("what", "median (least to most)", "target", "", "limit", "")]
    rows += [
        (
            f.name,
            f"{spread(f.values)} {f.unit}".strip(),
            f.goal.say(f.goal.target),
            f.verdict,
            f.goal.say(f.goal.limit),
            f.note,
        )
        for f in figures
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
