"""What charts are drawn on: axes with round ticks, grid, scales, legend, and the SVG elements themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

WIDTH = 460
LEFT, RIGHT, TOP, HEIGHT, BOTTOM = 56, 14, 30, 226, 40
_LETTER = 6.6
"""Pixels a letter of a legend takes."""
SERIES = 8
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "9 3 2 3 2 3")


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: text beside it, with the unit.
        low: smallest value, or None for the data's.
        high: largest value, or None for the data's.
        counts: values are numbers of things: no ticks between whole numbers.
    """

    label: str
    low: float | None = None
    high: float | None = None
    counts: bool = False


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; text and attribute values are escaped, ``_`` in names becomes ``-``, None is left out."""
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(f"{v:.1f}" if isinstance(v, float) else v)}"'
        for key, v in attributes.items()
        if v is not None
    )
    return Markup(f"<{name}{''.join(pairs)}>{''.join(escape(child) for child in children)}</{name}>")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
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


class Plot:
    """Axes, grid and scales; collects the elements drawn into it."""

    def __init__(self, title: str, x: Axis, y: Axis, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> None:
        self._title, self._parts = title, list[Markup]()
        self._x, self._y = _limits(x, xs), _limits(y, ys, 0.05)
        right, foot = WIDTH - RIGHT, TOP + HEIGHT
        self.text(title, LEFT, 18, css="strong")
        for value in ticks(*self._x):
            self.add(tag("line", class_="grid", x1=self.x(value), x2=self.x(value), y1=TOP, y2=foot))
            self.text(f"{value:g}", self.x(value), foot + 16, "middle")
        for value in (value for value in ticks(*self._y) if not y.counts or value.is_integer()):
            self.add(tag("line", class_="grid", x1=LEFT, x2=right, y1=self.y(value), y2=self.y(value)))
            self.text(f"{value:g}", LEFT - 7, self.y(value) + 4, "end")
        self.add(tag("path", class_="axis", d=f"M{LEFT},{TOP} V{foot} H{right}"))
        self.text(x.label, (LEFT + right) / 2, foot + 34, "middle")
        middle = TOP + HEIGHT / 2
        self.add(tag("text", y.label, x=14, y=middle, text_anchor="middle", transform=f"rotate(-90 14 {middle:.0f})"))

    def x(self, value: float) -> float:
        """Where a value lies, in pixels from the left."""
        low, high = self._x
        return float(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT))

    def y(self, value: float) -> float:
        """Where a value lies, in pixels from the top."""
        low, high = self._y
        return float(TOP + HEIGHT - (value - low) / (high - low) * HEIGHT)

    def add(self, element: Markup) -> None:
        """Put an element on top of those before."""
        self._parts.append(element)

    def text(self, text: str, x: float, y: float, anchor: str = "start", css: str | None = None) -> None:
        """Put a text there."""
        self.add(tag("text", text, class_=css, x=float(x), y=float(y), text_anchor=anchor))

    def done(self, names: Sequence[str] = ()) -> Markup:
        """The element, its legend below the axis."""
        legend, height = legend_at(names, TOP + HEIGHT + BOTTOM + 16, LEFT)
        return svg(self._title, [*self._parts, *legend], viewBox=f"0 0 {WIDTH} {height}", class_="chart")


def legend_at(names: Sequence[str], y: float, left: int, filled: bool = False) -> tuple[list[Markup], int]:
    """Elements of a legend whose first line is at ``y``, and where it ends; ``filled`` for bars."""
    parts, at = [], float(left)
    shown = [(number, name) for number, name in enumerate(names) if name]
    for number, name in shown:
        wide = 40 + _LETTER * len(name)
        if at > left and at + wide > WIDTH:
            at, y = float(left), y + 18
        if filled:
            parts.append(tag("rect", class_=f"f{number % SERIES}", x=at + 10, y=y - 10, width=12, height=12))
        else:
            parts.append(tag("line", x1=at, x2=at + 24, y1=y - 4, y2=y - 4, **stroke(number)))
        parts.append(tag("text", name, x=at + 29, y=y))
        at += wide
    return parts, int(y + 8 if shown else y - 16)


def stroke(number: int) -> dict[str, str | None]:
    """Attributes of the line with this number."""
    return {"class_": f"s{number % SERIES}", "stroke_dasharray": _DASHES[number % len(_DASHES)] or None}


def svg(title: str, parts: Iterable[Markup], **attributes: object) -> Markup:
    """The element that holds the others, with its name for people who do not see it."""
    # An image role would hide the links inside from people who do not see them.
    inner = Markup("").join(parts)
    role = "group" if "<a " in inner else "img"
    return tag("svg", inner, xmlns="http://www.w3.org/2000/svg", role=role, aria_label=title, **attributes)


def _limits(axis: Axis, arrays: Sequence[np.ndarray], margin: float = 0.0) -> tuple[float, float]:
    values = np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]) if arrays else np.empty(0)
    low = axis.low if axis.low is not None else float(values.min()) if len(values) else 0.0
    high = axis.high if axis.high is not None else float(values.max()) if len(values) else 1.0
    if axis.high is None:
        high += margin * (high - low)
    return (low, high) if high > low else (low, low + 1.0)
