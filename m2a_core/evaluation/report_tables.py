"""Tables of the report: scores side by side, classes, confusion, and the paper's tables with this evaluation's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from m2a_core.evaluation.paper_tables import HEADINGS, PAPER_TABLES, PaperTable
from m2a_core.reporting.page import DASH, percent

_OWN_DATA = "this data"
_MAX_MATRIX = 30
"""Classes beyond this make an unreadable confusion matrix; the table of classes names the confusions."""


def compared(scores: Mapping[str, Mapping[str, float | None]], known: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Scores on the same outputs side by side, best AuPRC first.

    Args:
        scores: name -> key -> figure.
        known: keys and their labels, in order; those that the figures lack are left out.

    Returns:
        ``head``, and ``rows`` of a name and cells: text, and whether it is the best of its column.
    """
    columns = [(key, label) for key, label in known if key in next(iter(scores.values()))]
    best = {}
    for key, _ in columns:
        found = [value for value in (figures[key] for figures in scores.values()) if value is not None]
        best[key] = (min(found) if key == "fpr95" else max(found)) if found else None
    rows = [
        (name, [(percent(of[key], 2), of[key] is not None and of[key] == best[key]) for key, _ in columns])
        for name, of in sorted(scores.items(), key=lambda item: -(item[1]["auprc"] or 0))
    ]
    return {"head": [label for _, label in columns], "rows": rows}


def class_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per class, lowest IoU first: IoU, share of the labelled pixels, and what it is most often taken for."""
    names, counts = figures["confusion"]["classes"], np.array(figures["confusion"]["counts"])
    columns = [*names, "no class"]
    rows = []
    for number, name in enumerate(names):
        wrong = counts[number].copy()
        wrong[number] = 0
        at, pixels = int(wrong.argmax()), int(counts[number].sum())
        taken = f"{columns[at]} ({percent(wrong[at] / pixels)})" if wrong[at] else DASH
        iou = figures["iou"][name]
        undefined = iou is None or np.isnan(iou)
        rows.append(
            {"name": name, "iou": None if undefined else iou, "share": pixels / max(1, counts.sum()), "taken": taken}
        )
    return sorted(rows, key=lambda row: (row["iou"] is None, row["iou"]))


def matrix(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix by rows: shares of each true class; None for very many classes."""
    names, counts = figures["confusion"]["classes"], np.array(figures["confusion"]["counts"], np.float64)
    if len(names) > _MAX_MATRIX:
        return None
    seen = counts.sum(axis=1) > 0
    shares = counts[seen] / counts[seen].sum(axis=1, keepdims=True)
    rows = list(zip([name for name, one in zip(names, seen, strict=True) if one], shares.tolist(), strict=True))
    return {"head": [*names, "no class"], "rows": rows}


def paper_tables(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paper's tables that this evaluation has figures for, its own row first.

    A closed-set mIoU of other data says nothing beside them and brings up no table.
    """
    tables = [_with_own_row(table, figures) for table in PAPER_TABLES]
    return [table for table in tables if table is not None]


def _with_own_row(table: PaperTable, figures: Mapping[str, Any]) -> dict[str, Any] | None:
    dataset = str(figures.get("dataset", ""))
    columns, added = list(table.columns), 0
    if not any(_is_of(data, dataset) for data, _, _ in columns):
        keys = dict.fromkeys((key, label) for _, key, label in columns)
        own = [(_OWN_DATA, key, label) for key, label in keys if _figure(figures, key) is not None]
        if not any(key != "miou" for _, key, _ in own):
            return None
        columns, added = own + columns, len(own)
    mine = [
        percent(_figure(figures, key), 2) if data == _OWN_DATA or _is_of(data, dataset) else DASH
        for data, key, _ in columns
    ]
    groups: dict[str, int] = {}
    for data, _, _ in columns:
        groups[data] = groups.get(data, 0) + 1
    quoted = [(f"{method} (quoted)", [DASH] * added + list(values)) for method, *values in table.rows]
    return {
        "title": table.title,
        "groups": [(HEADINGS.get(data, data), width) for data, width in groups.items()],
        "head": [label for _, _, label in columns],
        "rows": [(f"{figures.get('model', 'this evaluation')} (measured)", mine), *quoted],
    }


def _is_of(column: str, dataset: str) -> bool:
    return bool(dataset) and (column == dataset or dataset.startswith(f"{column}_k"))


def _figure(figures: Mapping[str, Any], key: str) -> float | None:
    if key.startswith("open_iou_t"):
        value: float | None = figures.get("open_iou_per_set", {}).get(key.removeprefix("open_iou_"))
        return value
    group, _, quality = key.partition(".")
    if quality:
        figure: float | None = figures.get("panoptic", {}).get(group, {}).get(quality)
        return figure
    return figures.get(key)
