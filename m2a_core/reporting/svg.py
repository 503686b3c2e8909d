"""Line charts and histograms as SVG text, to stand inside an HTML page.

Every chart is one ``<svg>`` element that scales with the page, with axes, round ticks, a grid and a legend; no script,
no style sheet and no file besides it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 46
COLORS = ("#0b6e99", "#e0542b", "#5a8f29", "#8455a8", "#b58900", "#2f4858", "#c2185b", "#8c8c8c")
_FONT = 'font-family="system-ui, sans-serif"'


@dataclass(frozen=True)
class Series:
    """One line or one set of bars.

    Attributes:
        name: what the legend says; empty for none.
        x: float [N].
        y: float [N]; points where x or y is not finite are left out.
    """

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: text beside it, with the unit.
        low: smallest value, or None for the data's.
        high: largest value, or None for the data's.
    """

    label: str
    low: float | None = None
    high: float | None = None


def line_chart(title: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Lines over a common pair of axes.

    Args:
        title: above the chart.
        series: the lines; the legend lists those with a name.
        x: horizontal axis.
        y: vertical axis.

    Returns:
        An ``<svg>`` element.
    """
    kept = [_finite(s) for s in series]
    frame = _Frame(title, x, y, [s.x for s in kept], [s.y for s in kept])
    for i, one in enumerate(kept):
        points = " ".join(f"{frame.at_x(a):.1f},{frame.at_y(b):.1f}" for a, b in zip(one.x, one.y, strict=True))
        frame.add(
            f'<polyline points="{points}" fill="none" stroke="{COLORS[i % len(COLORS)]}" stroke-width="2" '
            'stroke-linejoin="round"/>'
        )
    frame.legend([s.name for s in series])
    return frame.text()


def histogram(title: str, values: np.ndarray, x: Axis, bins: int = 30, marks: Sequence[tuple[str, float]] = ()) -> str:
    """How often values fall into equal bins.

    Args:
        title: above the chart.
        values: float [N]; values that are not finite, or outside the axis, are left out.
        x: horizontal axis.
        bins: number of bins.
        marks: names and values to mark with vertical lines.

    Returns:
        An ``<svg>`` element.
    """
    finite = values[np.isfinite(values)]
    low = x.low if x.low is not None else float(finite.min()) if len(finite) else 0.0
    high = x.high if x.high is not None else float(finite.max()) if len(finite) else 1.0
    if high <= low:
        high = low + 1.0
    counts, edges = np.histogram(finite, bins, (low, high))
    frame = _Frame(title, Axis(x.label, low, high), Axis("frames", 0.0), [edges], [counts.astype(np.float64)])
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        top, x0, x1 = frame.at_y(float(count)), frame.at_x(float(start)), frame.at_x(float(end))
        frame.add(
            f'<rect x="{x0:.1f}" y="{top:.1f}" width="{max(0.5, x1 - x0 - 1):.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}" fill="{COLORS[0]}"/>'
        )
    for i, (name, value) in enumerate(marks):
        if low <= value <= high:
            at = frame.at_x(value)
            shift, anchor = (4, "start") if at < WIDTH / 2 else (-4, "end")
            frame.add(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{COLORS[1]}" '
                f'stroke-dasharray="4 3"/>{_words(name, at + shift, TOP + 12 + 13 * i, anchor, COLORS[1])}'
            )
    return frame.text()


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from low to high, about as many as asked for.

    Args:
        low: smallest value.
        high: largest value, above ``low``.
        about: wanted number.
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class _Frame:
    """Axes, grid and scales; collects the elements drawn into it."""

    def __init__(self, title: str, x: Axis, y: Axis, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> None:
        self._x = _limits(x, xs)
        self._y = _limits(y, ys, margin=0.05)
        self._elements = [_words(title, WIDTH / 2, 18, "middle", "#222", 14, "600")]
        self._title = title
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value in ticks(*self._x):
            at = self.at_x(value)
            self.add(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}" stroke="#e6e6e6"/>')
            self.add(_words(f"{value:g}", at, bottom + 16, "middle"))
        for value in ticks(*self._y):
            at = self.at_y(value)
            self.add(f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e6e6e6"/>')
            self.add(_words(f"{value:g}", LEFT - 7, at + 4, "end"))
        self.add(f'<path d="M{LEFT},{TOP} V{bottom} H{right}" fill="none" stroke="#555"/>')
        self.add(_words(x.label, (LEFT + right) / 2, HEIGHT - 10, "middle"))
        middle = (TOP + bottom) / 2
        self.add(f'<g transform="rotate(-90 16 {middle:.0f})">{_words(y.label, 16, middle, "middle")}</g>')

    def at_x(self, value: float) -> float:
        low, high = self._x
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        low, high = self._y
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def add(self, element: str) -> None:
        self._elements.append(element)

    def legend(self, names: Sequence[str]) -> None:
        named = [(i, name) for i, name in enumerate(names) if name]
        width = 34 + 6.6 * max((len(name) for _, name in named), default=0)
        x0 = WIDTH - RIGHT - width - 6
        if named:
            self.add(
                f'<rect x="{x0:.1f}" y="{TOP + 4}" width="{width:.1f}" height="{8 + 17 * len(named)}" fill="#fff" '
                'fill-opacity="0.85" stroke="#ddd"/>'
            )
        for row, (i, name) in enumerate(named):
            y = TOP + 17 + 17 * row
            color = COLORS[i % len(COLORS)]
            self.add(
                f'<line x1="{x0 + 6:.1f}" x2="{x0 + 24:.1f}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="3"/>'
            )
            self.add(_words(name, x0 + 29, y + 4, "start"))

    def text(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(self._title)}" style="width:100%;max-width:{WIDTH}px">'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        )
        return head + "".join(self._elements) + "</svg>"


def _words(text: str, x: float, y: float, anchor: str, color: str = "#444", size: int = 12, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}" '
        f'font-weight="{weight}" {_FONT}>{escape(text)}</text>'
    )


def _finite(series: Series) -> Series:
    keep = np.isfinite(series.x) & np.isfinite(series.y)
    return Series(series.name, series.x[keep], series.y[keep])


def _limits(axis: Axis, arrays: Sequence[np.ndarray], margin: float = 0.0) -> tuple[float, float]:
    values = np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]) if arrays else np.empty(0)
    low = axis.low if axis.low is not None else float(values.min()) if len(values) else 0.0
    high = axis.high if axis.high is not None else float(values.max()) if len(values) else 1.0
    if axis.high is None:
        high += margin * (high - low)
    return (low, high) if high > low else (low, low + 1.0)
