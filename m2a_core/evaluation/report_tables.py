"""Tables of the report: scores side by side, and the paper's tables with this evaluation among them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from m2a_core.evaluation.paper_tables import HEADINGS, PaperTable

NOTE = (
    '<p class="note">Rows marked <em>measured</em> are this evaluation. All others are <em>quoted</em> from the paper '
    "(Rai et al., TPAMI 2024) and were not run here; they are of the named data sets, not of this evaluation's unless "
    "the names agree. A dash is missing in the paper or not part of this evaluation. Per cent.</p>"
)


def compared(scores: Mapping[str, Mapping[str, float | None]], known: Sequence[tuple[str, str]]) -> str:
    """Draw scores on the same outputs side by side, best AuPRC first; the best of each column is marked.

    Args:
        scores: name -> key -> figure.
        known: keys and their labels, in order; those that the figures lack are left out.
    """
    columns = [(key, label) for key, label in known if key in next(iter(scores.values()))]
    best: dict[str, float | None] = {}
    for key, _ in columns:
        found = [value for value in (figures[key] for figures in scores.values()) if value is not None]
        best[key] = (min(found) if key == "fpr95" else max(found)) if found else None
    rows = []
    for name, values in sorted(scores.items(), key=lambda item: -(item[1]["auprc"] or 0)):
        cells = "".join(
            f"<td{' class=mine' if values[key] is not None and values[key] == best[key] else ''}>"
            f"{percent(values[key])}</td>"
            for key, _ in columns
        )
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    head = "".join(f"<th>{label}</th>" for _, label in columns)
    return (
        "<h2>Scores on the same outputs</h2><p class=note>One run of the network; objects at each score's own best-F1 "
        "threshold. Per cent, the best of each column marked.</p>"
        f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )


def paper_table(table: PaperTable, figures: Mapping[str, Any]) -> str:
    """Draw a paper table with this evaluation as its first row; figures of other data get columns of their own."""
    dataset = str(figures.get("dataset", ""))
    columns, added = list(table.columns), 0
    if not any(_is_of(data, dataset) for data, _, _ in columns):
        own = [
            ("this data", key, label)
            for key, label in dict.fromkeys((key, label) for _, key, label in columns)
            if _figure(figures, key) is not None
        ]
        columns, added = own + columns, len(own)
    mine = [
        percent(_figure(figures, key)) if data == "this data" or _is_of(data, dataset) else "-"
        for data, key, _ in columns
    ]
    groups: dict[str, int] = {}
    for data, _, _ in columns:
        groups[data] = groups.get(data, 0) + 1
    head = "".join(f'<th colspan="{n}">{html.escape(HEADINGS.get(data, data))}</th>' for data, n in groups.items())
    labels = "".join(f"<th>{html.escape(label)}</th>" for _, _, label in columns)
    name = html.escape(str(figures.get("model", "this evaluation")))
    rows = [f'<tr class="mine"><td>{name} (measured)</td>{_cells(mine)}</tr>']
    for method, *values in table.rows:
        padded = [*["-"] * added, *values]
        rows.append(f"<tr><td>{html.escape(method)} (quoted)</td>{_cells(padded)}</tr>")
    mine_here = any(value != "-" for value in mine)
    return (
        f"<details{' open' if mine_here else ''}><summary>{html.escape(table.title)}</summary>"
        f'<div class="wide"><table><tr><th></th>{head}</tr><tr><th></th>{labels}</tr>{"".join(rows)}</table></div>'
        "</details>"
    )


def _is_of(column: str, dataset: str) -> bool:
    return bool(dataset) and (column == dataset or dataset.startswith(f"{column}_k"))


def _figure(figures: Mapping[str, Any], key: str) -> float | None:
    if key.startswith("open_iou_t"):
        value: float | None = figures.get("open_iou_per_set", {}).get(key.removeprefix("open_iou_"))
        return value
    group, _, quality = key.partition(".")
    if quality:
        return figures.get("panoptic", {}).get(group, {}).get(quality)
    return figures.get(key)


def _cells(values: Sequence[str]) -> str:
    return "".join(f"<td>{value}</td>" for value in values)


def percent(value: float | None) -> str:
    """A fraction in per cent, a dash for none."""
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"
