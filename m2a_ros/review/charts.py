"""Charts of the reports as SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from m2a_core.reporting.svg import ticks

_LEFT = 120
_LANE = 30


@dataclass(frozen=True)
class Bar:
    """A stretch on a lane.

    Attributes:
        start: seconds.
        end: seconds.
        kind: class of the style sheet.
        title: what a pointer resting on it reads.
        link: anchor that it opens, or an empty string.
    """

    start: float
    end: float
    kind: str
    title: str
    link: str = ""


def timeline(title: str, seconds: float, lanes: Sequence[tuple[str, Sequence[Bar]]], width: int = 1080) -> str:
    """Lanes of stretches over time.

    Args:
        title: for people who do not see it.
        seconds: length of the time axis.
        lanes: name and stretches of each.
        width: in units of the drawing.
    """
    height = 34 + _LANE * len(lanes)
    end = max(seconds, 1e-3)

    def at(value: float) -> float:
        return _LEFT + (width - _LEFT - 16) * value / end

    parts = []
    for value in ticks(0, end, 8):
        parts.append(f'<line class="grid" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="4" y2="{height - 26}"/>')
        parts.append(f'<text x="{at(value):.1f}" y="{height - 8}" text-anchor="middle">{value:g} s</text>')
    for row, (name, bars) in enumerate(lanes):
        top = 6 + _LANE * row
        parts.append(f'<text x="{_LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(_short(name, 18))}</text>')
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{width - 16}" y1="{top + 22}" y2="{top + 22}"/>')
        for bar in bars:
            x = at(bar.start)
            # Narrower than this nobody could see or hit it.
            shape = (
                f'<rect class="{bar.kind}" x="{x:.1f}" y="{top}" width="{max(4.0, at(bar.end) - x):.1f}" height="20" '
                f'rx="3"><title>{escape(bar.title)}</title></rect>'
            )
            parts.append(f'<a href="#{bar.link}" aria-label="{escape(bar.title)}">{shape}</a>' if bar.link else shape)
    return _svg(title, width, height, parts)


def histogram(title: str, values: np.ndarray, unit: str, marks: Sequence[tuple[str, float]], bins: int = 40) -> str:
    """How often values occur, float [N], from 0 to their 99.5th percentile; marks are named values."""
    width, height, left, bottom = 520, 240, 44, 34
    high = max(float(np.percentile(values, 99.5)) if len(values) else 1.0, *(value for _, value in marks), 1e-3) * 1.02
    counts, edges = np.histogram(np.clip(values, 0, high), bins, (0, high))
    top = max(1, int(counts.max()))
    x_of = lambda v: left + (width - left - 10) * v / high  # noqa: E731
    y_of = lambda v: height - bottom - (height - bottom - 24) * v / top  # noqa: E731
    parts = []
    for value in ticks(0, high):
        parts.append(f'<text x="{x_of(value):.1f}" y="{height - 16}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(width + left) / 2}" y="{height - 1}" text-anchor="middle">{escape(unit)}</text>')
    for value in ticks(0, top, 4):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - 10}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>'
        )
        parts.append(f'<text x="{left - 6}" y="{y_of(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        parts.append(
            f'<rect class="bar" x="{x_of(start) + 0.5:.1f}" y="{y_of(count):.1f}" '
            f'width="{max(1.0, x_of(end) - x_of(start) - 1):.1f}" height="{height - bottom - y_of(count):.1f}"/>'
        )
    for row, (name, value) in enumerate(marks):
        x = x_of(value)
        anchor, shift = ("start", 4) if x < width * 0.7 else ("end", -4)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="18" y2="{height - bottom}" stroke="var(--alarm)" '
            f'stroke-dasharray="4 3"/><text class="strong" x="{x + shift:.1f}" y="{28 + 14 * row}" '
            f'text-anchor="{anchor}">{escape(name)} {value:.1f}</text>'
        )
    return _svg(title, width, height, parts)


def curve(title: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], x: str, y: str) -> str:
    """Lines of fractions over fractions: name, x and y each; at most two."""
    width, height, left, bottom = 520, 300, 52, 40
    parts = []
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1.0):
        px, py = left + (width - left - 12) * value, height - bottom - (height - bottom - 12) * value
        parts.append(f'<line class="grid" x1="{px:.1f}" x2="{px:.1f}" y1="12" y2="{height - bottom}"/>')
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 12}" y1="{py:.1f}" y2="{py:.1f}"/>')
        parts.append(f'<text x="{px:.1f}" y="{height - 24}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{py + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 6}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text transform="rotate(-90 14 {height / 2})" x="14" y="{height / 2}" text-anchor="middle">{escape(y)}</text>'
    )
    for number, (name, xs, ys) in enumerate(lines):
        points = " ".join(
            f"{left + (width - left - 12) * a:.1f},{height - bottom - (height - bottom - 12) * b:.1f}"
            for a, b in zip(xs, ys, strict=True)
        )
        kind = "curve" if number == 0 else "curve2"
        parts.append(f'<polyline class="{kind}" points="{points}"/>')
        if name:
            parts.append(
                f'<line class="{kind}" x1="{left + 12}" x2="{left + 34}" '
                f'y1="{height - bottom - 30 + 16 * number}" y2="{height - bottom - 30 + 16 * number}"/>'
                f'<text x="{left + 40}" y="{height - bottom - 26 + 16 * number}">{escape(name)}</text>'
            )
    return _svg(title, width, height, parts)


def ground_map(
    title: str, track: np.ndarray, cars: Sequence[tuple[str, float, float]],
    unknown: Sequence[tuple[str, float, float]], north: bool,
) -> str:  # fmt: skip
    """The car's track, float [N, 2] in metres, with linked places of events: anchor, x and y."""
    width, margin = 720, 36
    points = np.concatenate([track, *([np.array([p[1:] for p in (*cars, *unknown)])] if cars or unknown else [])])
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1.0)
    scale = min((width - 2 * margin) / span[0], (480 - 2 * margin) / span[1])
    height = int(min(480, max(160, span[1] * scale + 2 * margin + 24)))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            margin + (width - 2 * margin - span[0] * scale) / 2 + (x - low[0]) * scale,
            height - margin - 24 - (height - 24 - 2 * margin - span[1] * scale) / 2 - (y - low[1]) * scale,
        )

    step = max(1, len(track) // 2000)
    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in track[::step])
    begin = at(*track[0])
    parts = [
        f'<polyline class="road" points="{line}"/>',
        f'<text class="strong" x="{begin[0] + 8:.1f}" y="{begin[1] - 8:.1f}">start</text>',
        f'<circle class="car" cx="{begin[0]:.1f}" cy="{begin[1]:.1f}" r="5"/>',
    ]
    for kind, places, radius in (("car", cars, 5), ("dot", unknown, 6)):
        for anchor, x, y in places:
            px, py = at(x, y)
            text = f"{anchor.replace('_', ' ')}: {'the car' if kind == 'car' else 'unknown object'}"
            parts.append(
                f'<a href="#{anchor}" aria-label="{text}"><circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" '
                f'r="{radius}"><title>{text}</title></circle></a>'
            )
    metres = _round_down(120 / scale)
    parts.append(
        f'<path class="axis" style="stroke:var(--ink)" d="M{margin},{height - 18} v6 h{metres * scale:.1f} v-6"/>'
        f'<text x="{margin + metres * scale + 8:.1f}" y="{height - 11}">{metres:g} m</text>'
    )
    if north:
        parts.append(
            f'<path fill="var(--ink)" d="M{width - 30},{14} l7,18 l-7,-5 l-7,5 z"/>'
            f'<text class="strong" x="{width - 30}" y="46" text-anchor="middle">N</text>'
        )
    return _svg(title, width, height, parts)


def intervals(title: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Differences with their intervals around a line at zero: name, value, low and high."""
    width, left, height = 720, 190, 30 + 34 * len(rows)
    reach = max((max(abs(low), abs(high)) for _, _, low, high in rows), default=1.0) * 1.15 or 1.0
    at = lambda v: left + (width - left - 20) * (v + reach) / (2 * reach)  # noqa: E731
    parts = [
        f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="4" y2="{height - 22}" stroke="var(--ink)" stroke-width="1.2"/>'
    ]
    for value in ticks(-reach, reach, 6):
        parts.append(f'<line class="grid" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="4" y2="{height - 22}"/>')
        parts.append(f'<text x="{at(value):.1f}" y="{height - 6}" text-anchor="middle">{value:+g}</text>')
    for row, (name, value, low, high) in enumerate(rows):
        y = 20 + 34 * row
        parts.append(
            f'<text class="strong" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" stroke="var(--accent)" stroke-width="4" '
            f'stroke-linecap="round"/><circle class="car" cx="{at(value):.1f}" cy="{y}" r="6">'
            f"<title>{value:+.4f} ({low:+.4f} to {high:+.4f})</title></circle>"
        )
    return _svg(title, width, height, parts)


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    # An image role would hide the links inside from people who do not see them.
    role = "group" if any("<a " in part for part in parts) else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="{role}" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _round_down(value: float) -> float:
    power = 10 ** math.floor(math.log10(max(value, 1e-9)))
    return float(max(m for m in (1, 2, 5) if m * power <= value) * power)
