"""Line charts as SVG, by hand: a few axes and lines need no library."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from engine.bench.results import Results
from engine.bench.tables import growth_points, load_points
from engine.errors import CannotWrite, reason

type Line = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 50
_COLOURS = ("#1b6ca8", "#c8553d", "#4f7942", "#7b5ea7", "#b8860b")
_TICKS = 5


def write_plots(results: Results, folder: Path) -> list[Path]:
    """One file for each thing that was measured and can be drawn. Raises CannotWrite."""
    charts = {name: chart for name, chart in _charts(results).items() if chart}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, chart in charts.items():
            (folder / f"{name}.svg").write_text(chart)
    except OSError as error:
        raise CannotWrite(f"plots cannot be written to {folder}: {reason(error)}; choose another --plots") from error
    return [folder / f"{name}.svg" for name in charts]


def _charts(results: Results) -> dict[str, str]:
    rounds, charts = results.rounds, {}
    if load := load_points(rounds):
        lines = {
            name: [(_middle(points, "offered"), _middle(points, name)) for (_, heeds), points in load.items() if heeds]
            for name in ("done", "refused")
        }
        charts["load"] = chart("Throughput against offered load", "programs offered per second", "per second", lines)
    growth = growth_points(rounds)
    if slots := growth.pop("slots", None):
        line = {"": [(number, 1000 / milliseconds) for number, milliseconds in slots]}
        charts["slots"] = chart(f"Throughput against slots, {results.machine.cores} cores", "slots", "programs per second", line)
    if growth:
        relative = {name: _relative(points) for name, points in growth.items()}
        title = "Cost of a program as it grows (both axes logarithmic)"
        charts["growth"] = chart(title, "times the smallest size", "times the smallest cost", relative, logarithmic=True)
    return charts


def _relative(points: Line) -> Line:
    first_size, first_cost = points[0]
    return [(size / first_size, cost / first_cost) for size, cost in points]


def _middle(points: Sequence[object], name: str) -> float:
    values = sorted(getattr(point, name) for point in points)
    return float(values[len(values) // 2])


def chart(title: str, across: str, up: str, lines: Mapping[str, Line], *, logarithmic: bool = False) -> str:
    """An SVG with one line for each entry of `lines`, named where the name is not empty. Logarithmic axes take no zeros."""
    xs, ys = ([point[axis] for line in lines.values() for point in line] for axis in (0, 1))
    x_axis = _Axis(xs, _LEFT, _WIDTH - _RIGHT, logarithmic)
    y_axis = _Axis(ys, _HEIGHT - _BOTTOM, _TOP, logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_WIDTH / 2, 20, title, "middle", 'font-size="14"'),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, across, "middle"),
        _text(0, 0, up, "middle", f'transform="translate(16 {(_TOP + _HEIGHT - _BOTTOM) / 2:.1f}) rotate(-90)"'),
    ]
    for value in x_axis.ticks():
        parts.append(_text(x_axis.at(value), _HEIGHT - _BOTTOM + 18, f"{value:g}", "middle"))
    for value in y_axis.ticks():
        height = y_axis.at(value)
        parts.append(f'<path d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, height + 4, f"{value:g}", "end"))
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(x_axis.at(x), y_axis.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        if name:
            parts.append(_text(_LEFT + 10, _TOP + 14 + 16 * number, name, "start", f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


class _Axis:
    """Values to pixels, from `start` to `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._low = min(values) if logarithmic else 0.0
        self._high = max([*values, self._low * 2 or 1])
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        if self._logarithmic:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        else:
            share = value / self._high
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round numbers within the values; powers of ten where logarithmic."""
        if self._logarithmic:
            first, last = math.ceil(math.log10(self._low)), math.floor(math.log10(self._high))
            return [10.0**power for power in range(first, last + 1)]
        rough = self._high / _TICKS
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        return [step * number for number in range(int(self._high / step) + 1)]
