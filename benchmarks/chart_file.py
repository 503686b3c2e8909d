"""Charts as a file of their own, with the style that a page gives them else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from m2a_core.reporting.plot import WIDTH


def standalone(charts: Sequence[Markup]) -> str:
    """An SVG of charts, one below the other."""
    y, placed = 0, []
    for chart in charts:
        height = int(str(chart).partition(f'viewBox="0 0 {WIDTH} ')[2].partition('"')[0])
        placed.append(str(chart).replace("<svg ", f'<svg y="{y}" width="{WIDTH}" height="{height}" ', 1))
        y += height
    style = (files("m2a_core.reporting") / "templates" / "charts.css").read_text(encoding="utf-8")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}"><style>{style}</style>'
        f'<rect width="{WIDTH}" height="{y}" class="paper"/>{"".join(placed)}</svg>\n'
    )
