"""Charts as SVG that takes its colours from the page, light or dark.

Every chart has round ticks, labelled axes and a name for people who do not see it. Lines differ by dashes besides their
colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from m2a_core.reporting.plot import LEFT, RIGHT, SERIES, TOP, WIDTH, Axis, Plot, legend_at, stroke, svg, tag, ticks

_LANE, _LANE_BAR, _THIN = 44, 18, 5


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: what the legend says; empty for none.
        x: float [N].
        y: float [N]; points where x or y is not finite are left out.
    """

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Bar:
    """A stretch on a lane of a time line.

    Attributes:
        start: seconds.
        end: seconds.
        kind: class of the style sheet.
        title: what it means, in words.
        link: anchor that it opens, or an empty string.
        thin: drawn as a thin line, so that kinds differ by more than their colour.
    """

    start: float
    end: float
    kind: str
    title: str
    link: str = ""
    thin: bool = False


def line_chart(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    level: tuple[str, float] | None = None,
    marks: Sequence[tuple[str, float, float]] = (),
) -> Markup:
    """Lines over a common pair of axes.

    Args:
        title: above the chart.
        series: the lines; those with a name are in the legend.
        x: horizontal axis.
        y: vertical axis.
        level: name and value of a dashed horizontal line.
        marks: name, x and y of points to mark.
    """
    kept = [_finite(one) for one in series]
    plot = Plot(title, x, y, [s.x for s in kept], [s.y for s in kept])
    if level is not None:
        at = plot.y(level[1])
        plot.add(tag("line", class_="level", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        plot.text(level[0], LEFT + 6, at - 5)
    for number, one in enumerate(kept):
        points = " ".join(f"{plot.x(a):.1f},{plot.y(b):.1f}" for a, b in zip(one.x, one.y, strict=True))
        plot.add(tag("polyline", points=points, **stroke(number)))
    for name, a, b in marks:
        start = plot.x(a) < WIDTH / 2
        plot.add(tag("circle", class_="mark", cx=plot.x(a), cy=plot.y(b), r=4.5))
        plot.text(name, plot.x(a) + (8 if start else -8), plot.y(b) + 18, "start" if start else "end", "strong")
    return plot.done([one.name for one in series])


def histogram(
    title: str, values: np.ndarray, x: Axis, marks: Sequence[tuple[str, float]] = (), bins: int = 30
) -> Markup:
    """How many of ``values``, float [N], fall into equal bins; values beyond the axis count in its last bin."""
    finite = values[np.isfinite(values)]
    low = x.low if x.low is not None else float(finite.min(initial=0.0))
    high = x.high if x.high is not None else float(np.percentile(finite, 99.5)) if len(finite) else low + 1.0
    high = max([high, low + 1e-3, *(value for _, value in marks)])
    counts, edges = np.histogram(np.clip(finite, low, high), bins, (low, high))
    plot = Plot(title, Axis(x.label, low, high), Axis("frames", 0.0, counts=True), [edges], [counts.astype(np.float64)])
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        top, width = plot.y(float(count)), max(0.5, plot.x(end) - plot.x(start) - 1)
        plot.add(tag("rect", class_="bar", x=plot.x(start), y=top, width=width, height=plot.y(0) - top))
    for row, (name, value) in enumerate(marks):
        at, start = plot.x(value), plot.x(value) < WIDTH * 0.7
        plot.add(tag("line", class_="level", x1=at, x2=at, y1=TOP, y2=plot.y(0)))
        plot.text(name, at + (4 if start else -4), TOP + 12 + 14 * row, "start" if start else "end", "strong")
    return plot.done()


def bars(title: str, groups: Sequence[str], series: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> Markup:
    """Fractions from 0 to 1 as bars in groups, one below the other.

    Args:
        title: above the chart.
        groups: names of the groups.
        series: name, a value per group, and a half error bar per group (NaN for none).
    """
    left, right, row = 12, 60, 15
    parts = [tag("text", title, class_="strong", x=left, y=18)]

    def at(value: float) -> float:
        return left + (WIDTH - left - right) * value

    y = 30
    for group, name in enumerate(groups):
        parts.append(tag("text", name, x=left, y=y + 12))
        y += 18
        for number, (_, values, errors) in enumerate(series):
            value, error = values[group], errors[group]
            if np.isfinite(value):
                width = at(value) - left
                parts.append(tag("rect", class_=f"f{number % SERIES}", x=left, y=y, width=width, height=row - 3))
                text = f"{100 * value:.1f}" + (f" ± {100 * error:.1f}" if np.isfinite(error) else "")
                parts.append(tag("text", text, x=at(value + (error if np.isfinite(error) else 0)) + 5, y=y + 10))
            if np.isfinite(value) and np.isfinite(error):
                low, high, middle = at(value - error), at(value + error), y + row / 2 - 1.5
                parts.append(tag("line", class_="ink", x1=low, x2=high, y1=middle, y2=middle))
            y += row
        y += 6
    legend, height = legend_at([name for name, _, _ in series], y + 14, left, filled=True)
    return svg(title, [*parts, *legend], viewBox=f"0 0 {WIDTH} {height}", class_="chart")


def timeline(title: str, seconds: float, lanes: Sequence[tuple[str, Sequence[Bar]]]) -> Markup:
    """Lanes of stretches over time; it has no width of its own, so its text keeps its size on a narrow screen."""
    height, end = _LANE * len(lanes) + 26, max(seconds, 1e-3)

    def share(value: float) -> str:
        return f"{100 * value / end:.2f}%"

    parts = []
    for value in ticks(0, end, 6):
        at, anchor = share(value), "start" if value == 0 else "end" if value > 0.97 * end else "middle"
        parts.append(tag("line", class_="grid", x1=at, x2=at, y1=0, y2=height - 22))
        parts.append(tag("text", f"{value:g} s", x=at, y=height - 6, text_anchor=anchor))
    for row, (name, stretches) in enumerate(lanes):
        top = _LANE * row + 18
        parts.append(tag("text", name, class_="strong", x=0, y=top - 5))
        parts.append(tag("line", class_="axis", x1="0%", x2="100%", y1=top + _LANE_BAR + 2, y2=top + _LANE_BAR + 2))
        for bar in stretches:
            x, width, y = share(bar.start), share(bar.end - bar.start), top + (_LANE_BAR - _THIN if bar.thin else 0)
            tall = _THIN if bar.thin else _LANE_BAR
            # A narrower one nobody could see or hit: a line of its own width stands behind it.
            shape = [
                tag("line", class_=bar.kind, x1=x, x2=x, y1=y, y2=y + tall, stroke_width=4),
                tag("rect", tag("title", bar.title), class_=bar.kind, x=x, y=y, width=width, height=tall),
            ]
            parts.append(tag("a", *shape, href=f"#{bar.link}", aria_label=bar.title) if bar.link else tag("g", *shape))
    return svg(title, parts, class_="lanes", width="100%", height=height)


def ground_map(
    title: str,
    track: np.ndarray,
    cars: Sequence[tuple[str, str, float, float]],
    unknown: Sequence[tuple[str, str, float, float]],
    north: bool,
) -> Markup:
    """The car's track, float [N, 2] in metres, and places on it.

    Args:
        title: for people who do not see it.
        track: x to the right, y up.
        cars: anchor, text, x and y of places where the car was: squares.
        unknown: the same of unknown objects: dots.
        north: whether up is north.
    """
    margin = 30
    points = np.concatenate([track, *([np.array([p[2:] for p in (*cars, *unknown)])] if cars or unknown else [])])
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1.0)
    scale = min((WIDTH - 2 * margin) / span[0], (360 - 2 * margin) / span[1])
    height = int(min(380, max(140, span[1] * scale + 2 * margin + 24)))
    left = (WIDTH - span[0] * scale) / 2
    foot = height - 24 - margin - (height - 24 - 2 * margin - span[1] * scale) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return float(left + (x - low[0]) * scale), float(foot - (y - low[1]) * scale)

    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in track[:: max(1, len(track) // 2000)])
    begin, metres = at(*track[0]), _round_down(120 / scale)
    parts = [
        tag("polyline", class_="road", points=line),
        tag("path", class_="ink", d=f"M{begin[0] - 5:.1f},{begin[1] - 6:.1f} v12 l10,-6 z"),
        tag("text", "start", class_="strong", x=begin[0] + 9, y=begin[1] - 8),
        tag("path", class_="ink", d=f"M{margin},{height - 18} v6 h{metres * scale:.1f} v-6"),
        tag("text", f"{metres:g} m", x=margin + metres * scale + 8, y=height - 11),
    ]
    for anchor, text, x, y in cars:
        (px, py), name = at(x, y), tag("title", text)
        shape = tag("rect", name, class_="car", x=px - 5, y=py - 5, width=10, height=10)
        parts.append(tag("a", shape, href=f"#{anchor}", aria_label=text))
    for anchor, text, x, y in unknown:
        (px, py), name = at(x, y), tag("title", text)
        parts.append(tag("a", tag("circle", name, class_="dot", cx=px, cy=py, r=6), href=f"#{anchor}", aria_label=text))
    if north:
        parts.append(tag("path", class_="solid", d=f"M{WIDTH - 20},10 l7,18 l-7,-5 l-7,5 z"))
        parts.append(tag("text", "N", class_="strong", x=WIDTH - 20, y=42, text_anchor="middle"))
    return svg(title, parts, viewBox=f"0 0 {WIDTH} {height}", class_="chart wide")


def intervals(title: str, rows: Sequence[tuple[str, float, float, float]], unit: str) -> Markup:
    """Differences with their intervals around a line at zero: name, value, low and high."""
    lane, left = 46, 12
    height = lane * len(rows) + 44
    reach = max((max(abs(low), abs(high)) for _, _, low, high in rows), default=1.0) * 1.15 or 1.0

    def at(value: float) -> float:
        return left + (WIDTH - 2 * left) * (value + reach) / (2 * reach)

    foot = height - 40
    parts = [tag("line", class_="ink", x1=at(0), x2=at(0), y1=4, y2=foot)]
    for value in ticks(-reach, reach, 5):
        parts.append(tag("line", class_="grid", x1=at(value), x2=at(value), y1=4, y2=foot))
        parts.append(tag("text", f"{value:+g}" if value else "0", x=at(value), y=foot + 16, text_anchor="middle"))
    parts.append(tag("text", unit, x=WIDTH / 2, y=height - 6, text_anchor="middle"))
    for row, (name, value, low, high) in enumerate(rows):
        y, text = lane * row + 32, f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
        parts.append(tag("text", f"{name}: {text}", class_="strong", x=left, y=y - 14))
        parts.append(tag("line", class_="span", x1=at(low), x2=at(high), y1=y, y2=y))
        parts += [tag("line", class_="ink", x1=at(v), x2=at(v), y1=y - 8, y2=y + 8) for v in (low, high)]
        parts.append(tag("circle", tag("title", text), class_="car", cx=at(value), cy=y, r=4.0))
    return svg(title, parts, viewBox=f"0 0 {WIDTH} {height}", class_="chart wide")


def _finite(series: Series) -> Series:
    keep = np.isfinite(series.x) & np.isfinite(series.y)
    return Series(series.name, series.x[keep], series.y[keep])


def _round_down(value: float) -> float:
    power = 10 ** math.floor(math.log10(max(value, 1e-9)))
    return float(max(m for m in (1, 2, 5) if m * power <= value) * power)
