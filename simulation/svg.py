"""Line charts as SVG, side by side: what scaling.py draws, without a library."""

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 400, 340  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 36, 44
LEGEND = 16  # of a line


@dataclass
class Line:
    name: str
    colour: str
    points: list[tuple[float, float]]
    dash: str = ""


@dataclass
class Panel:
    title: str
    x_name: str
    y_name: str
    lines: list[Line]
    x_ticks: list[float] = field(default_factory=list)
    x_is_log: bool = False  # y always is
    legend_is_low: bool = False  # at the bottom right, else at the top left


def text(x: float, y: float, content: str, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(content)}</text>'


def draw_panel(panel: Panel) -> str:
    values = [y for line in panel.lines for _, y in line.points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    scale_x = math.log10 if panel.x_is_log else float
    first, last = scale_x(panel.x_ticks[0]), scale_x(panel.x_ticks[-1])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(x):
        return LEFT + (scale_x(x) - first) / (last - first) * (right - LEFT)

    def y_of(y):
        return bottom - (math.log10(y) - low) / (high - low) * (bottom - TOP)

    parts = [text((LEFT + right) / 2, 20, panel.title, extra='font-weight="bold"')]
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{10.0**power:g}", "end"))
    for tick in panel.x_ticks:
        parts.append(f'<path d="M{x_of(tick):.1f} {bottom}v4" stroke="#888"/>')
        parts.append(text(x_of(tick), bottom + 17, f"{tick:g}"))
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="#888" fill="none"/>')
    parts.append(text((LEFT + right) / 2, HEIGHT - 8, panel.x_name))
    middle = (TOP + bottom) / 2
    parts.append(text(14, middle, panel.y_name, extra=f'transform="rotate(-90 14 {middle:.1f})"'))

    legend_x, legend_y = LEFT + 10, TOP + 12
    if panel.legend_is_low:
        legend_x, legend_y = LEFT + 150, bottom - LEGEND * len(panel.lines)
    for i, line in enumerate(panel.lines):
        path = "M" + "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in line.points)
        stroke = f'stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dash or "none"}"'
        parts.append(f'<path d="{path}" fill="none" {stroke}/>')
        y = legend_y + LEGEND * i
        parts.append(f'<path d="M{legend_x} {y}h26" {stroke}/>')
        parts.append(text(legend_x + 32, y + 4, line.name, "start"))
    return "\n".join(parts)


def draw(panels: list[Panel]) -> str:
    width = WIDTH * len(panels)
    body = "\n".join(
        f'<g transform="translate({WIDTH * i} 0)">\n{draw_panel(panel)}\n</g>' for i, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
        f' font-family="sans-serif" font-size="12" fill="#222">\n'
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )
