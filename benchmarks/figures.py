"""What is measured: ratios, turn by turn, and what they ought to be."""

import statistics
from dataclasses import dataclass


@dataclass
class Figure:
    """One line of the table. `values`: one a turn; `target`: ">= 0.97", "<= 100 µs", or empty."""

    name: str
    values: list[float]
    target: str = ""
    unit: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def reached(self) -> bool | None:
        """None where there is no target."""
        if not self.target:
            return None
        sign, bound = self.target.split()[:2]
        return self.median >= float(bound) if sign == ">=" else self.median <= float(bound)

    def as_json(self) -> dict:
        return {
            "name": self.name,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": self.values,
            "unit": self.unit,
            "target": self.target,
            "reached": self.reached(),
            "note": self.note,
        }


def digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 50 else f"{value:.3f}"


def spread(values: list[float]) -> str:
    return f"{digits(statistics.median(values))} ({digits(min(values))} to {digits(max(values))})"


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Turn by turn, since only what was measured side by side compares."""
    return [a / b for a, b in zip(over, under, strict=True)]


def table(figures: list[Figure]) -> str:
    """Markdown."""
    verdict = {None: "", True: "reached", False: "missed"}
    rows = [("what", "median (least to most)", "target", "", "")]
    rows += [(f.name, f"{spread(f.values)} {f.unit}".strip(), f.target, verdict[f.reached()], f.note) for f in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
