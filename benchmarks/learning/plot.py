"""The plot of a comparison of objectives: for each a dot a seed, and the mean with its 95 % interval; SVG by hand."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import fmean

from benchmarks.learning.paired import mean_interval
from benchmarks.learning.report import RRTF, Arms, Result

_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD, _FOOT = 720, 130, 70, 26, 34, 40
_INK, _SOFT, _RRTF, _CONTROL = "#1c2430", "#8a93a1", "#c8553d", "#1b6ca8"
_STEP = 0.1


def write_plot(result: Result, folder: Path) -> Path:
    """Writes learning.svg; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "learning.svg"
    path.write_text(draw(result), encoding="utf-8")
    return path


def draw(result: Result) -> str:
    """One panel below the other for each kind of training."""
    kinds = result.kinds()
    values = [fmean(tasks) for arms in kinds.values() for solved in [result.start, *arms.values()] for tasks in solved]
    scale = _Scale(min(values), max(values))
    heights = [_HEAD + _ROW * len(arms) for arms in kinds.values()]
    bottom = sum(heights) + 10
    parts, top = [], 0
    for (kind, arms), height in zip(kinds.items(), heights, strict=True):
        parts += _panel(kind, arms, result, scale, top)
        top += height
    parts += [_text(scale.at(tick), bottom + 12, f"{tick:.0%}", "middle") for tick in scale.ticks]
    parts += [_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 30, "held-out pass@1: seeds, mean, 95 % interval", "middle")]
    grid = [f'<path d="M{scale.at(tick):.1f} {_HEAD}V{bottom}" stroke="#e6e9ee"/>' for tick in scale.ticks]
    box = f'viewBox="0 0 {_WIDTH} {bottom + _FOOT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12" fill="{_INK}">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{bottom + _FOOT}" fill="white"/>', *grid, *parts, "</svg>", ""])


class _Scale:
    """Shares to pixels, between round numbers."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = int(low / _STEP) * _STEP, (int(high / _STEP) + 1) * _STEP
        self.ticks = [self._low + _STEP * number for number in range(round((self._high - self._low) / _STEP) + 1)]

    def at(self, value: float) -> float:
        return _LEFT + (value - self._low) / (self._high - self._low) * (_WIDTH - _LEFT - _RIGHT)


def _panel(kind: str, arms: Arms, result: Result, scale: _Scale, top: float) -> list[str]:
    start = scale.at(fmean(fmean(tasks) for tasks in result.start))
    end = top + _HEAD + _ROW * len(arms)
    parts = [
        _text(_LEFT, top + 20, kind, "start", 'font-weight="bold"'),
        f'<path d="M{start:.1f} {top + _HEAD}V{end}" stroke="{_SOFT}" stroke-dasharray="4 3"/>',
        _text(start, top + _HEAD - 3, "start", "middle", f'fill="{_SOFT}"'),
    ]
    best_first = sorted(arms, key=lambda name: -fmean(fmean(tasks) for tasks in arms[name]))
    for row, name in enumerate(best_first):
        parts += _line(name, [fmean(tasks) for tasks in arms[name]], scale, top + _HEAD + _ROW * (row + 0.5))
    return parts


def _line(name: str, values: Sequence[float], scale: _Scale, y: float) -> list[str]:
    colour, mean = _RRTF if name == RRTF else _CONTROL, fmean(values)
    parts = [_text(_LEFT - 10, y + 4, name, "end", f'fill="{colour}"'), _text(_WIDTH - _RIGHT + 8, y + 4, f"{mean:.1%}", "start")]
    if len(values) > 1:
        low, high = mean_interval(values)
        parts.append(f'<path d="M{scale.at(low):.1f} {y}H{scale.at(high):.1f}" stroke="{colour}" stroke-width="2"/>')
    parts += [f'<circle cx="{scale.at(value):.1f}" cy="{y}" r="3" fill="{colour}" opacity="0.35"/>' for value in values]
    return [*parts, f'<path d="M{scale.at(mean):.1f} {y - 7}V{y + 7}" stroke="{colour}" stroke-width="3"/>']


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
