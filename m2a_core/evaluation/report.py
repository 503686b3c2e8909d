"""The report a person reads: one HTML file with figures, curves, the worst frames and the paper's tables."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core import __version__
from m2a_core.evaluation.evaluator import Evaluation
from m2a_core.evaluation.paper_tables import HEADINGS, PAPER_TABLES, PaperTable
from m2a_core.evaluation.pictures import Pictures
from m2a_core.evaluation.shards import FrameRecord
from m2a_core.metrics.pixel import PixelCurve

_WORST = 6
_PICTURE_WIDTH = 280

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1c1c1e;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
.cards{display:flex;flex-wrap:wrap;gap:.7rem}.card{border:1px solid #ddd;border-radius:8px;padding:.6rem
1rem;min-width:7rem}
.card b{display:block;font-size:1.5rem}.card span,.note,figcaption{color:#666;font-size:.85rem}
.row{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0}img{display:block;max-width:100%}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}th,td{padding:.15rem .5rem;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.mine{background:#fff3d6;font-weight:600}.bad{color:#a00}
"""

_CARDS = (
    ("auprc", "AuPRC", "higher is better"),
    ("fpr95", "FPR95", "lower is better"),
    ("auroc", "AUROC", "higher is better"),
    ("f1_star", "F1*", "components"),
    ("siou", "sIoU", "components"),
    ("ppv", "PPV", "components"),
    ("miou", "mIoU", "closed set"),
    ("open_iou", "open-IoU", "Eq. 26"),
)


def write_report(
    path: Path, title: str, evaluation: Evaluation | None, figures: Mapping[str, Any], pictures: Pictures
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        title: what was scored.
        evaluation: anomaly figures, or None where the data set has no anomalies.
        figures: what OUT.json holds.
        pictures: gives a frame's pictures.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", _cards(figures), _conditions(figures)]
    if evaluation is not None:
        if len(evaluation.pixel.curve.recall):
            parts += ["<h2>Curves</h2>", _curves(evaluation.pixel.curve, figures)]
        parts.append(_worst(evaluation.records, pictures))
    parts += ["<h2>Beside the paper</h2>", _NOTE, *(_table(table, figures) for table in PAPER_TABLES)]
    if figures.get("failed"):
        items = "".join(f"<li class=bad>{html.escape(f'{n}: {why}')}</li>" for n, why in figures["failed"].items())
        parts.insert(2, f"<h2>Frames in no figure</h2><ul>{items}</ul>")
    body = "\n".join(parts)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>{body}"
        f'<p class="note">m2a {__version__}</p></body></html>'
    )
    path.write_text(text, encoding="utf-8")


_NOTE = (
    '<p class="note">Rows marked <em>measured</em> are this evaluation. All others are <em>quoted</em> from the paper '
    "(Rai et al., TPAMI 2024) and were not run here; a dash is missing in the paper or not part of this evaluation. "
    "Per cent.</p>"
)


def _cards(figures: Mapping[str, Any]) -> str:
    shown = [(label, note, figures[key]) for key, label, note in _CARDS if key in figures]
    shown += [(f"PQ {group}", "Eq. 27", q["pq"]) for group, q in figures.get("panoptic", {}).items()]
    cards = (
        f'<div class="card"><span>{label}</span><b>{_percent(value)}</b><span>{note}</span></div>'
        for label, note, value in shown
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def _conditions(figures: Mapping[str, Any]) -> str:
    said = [f"{figures['n_frames']} frames"]
    if "n_pixels" in figures:
        said.append(f"{figures['n_pixels']:,} pixels, {figures['n_anomaly_pixels']:,} of them anomalous")
        said.append(f"components: {figures['track']} track at score &gt; {figures['threshold']}")
        said.append(f"threshold: {figures['threshold_rule']}")
        binned = figures["smiyc_binned"]
        said.append(
            f"pixel figures are exact; the SMIYC code's binned curve gives AuPRC {_percent(binned['auprc'])}, "
            f"FPR95 {_percent(binned['fpr95'])}"
        )
    return f'<p class="note">{"; ".join(said)}.</p>'


def _curves(curve: PixelCurve, figures: Mapping[str, Any]) -> str:
    share = figures["n_anomaly_pixels"] / figures["n_pixels"]
    recall, precision = np.append(0, curve.recall), np.append(curve.precision[0], curve.precision)
    pr = _plot("Precision over recall", recall, precision, share, "chance")
    fpr, tpr = np.concatenate(([0], curve.fpr, [1])), np.concatenate(([0], curve.recall, [1]))
    roc = _plot("True-positive over false-positive rate", fpr, tpr, None, "")
    return f'<div class="row">{pr}{roc}</div>'


def _plot(title: str, x: np.ndarray, y: np.ndarray, level: float | None, level_name: str) -> str:
    """Draw a curve in the unit square as SVG."""
    left, top, side = 46, 28, 300
    points = " ".join(f"{left + a * side:.1f},{top + (1 - b) * side:.1f}" for a, b in zip(x, y, strict=True))
    grid = ""
    for tick in (0, 0.25, 0.5, 0.75, 1):
        at_x, at_y = left + tick * side, top + (1 - tick) * side
        grid += f'<path d="M{left} {at_y}h{side}M{at_x} {top}v{side}" stroke="#e5e5e5"/>'
        grid += f'<text x="{at_x}" y="{top + side + 18}" text-anchor="middle">{tick:g}</text>'
        grid += f'<text x="{left - 6}" y="{at_y + 4}" text-anchor="end">{tick:g}</text>'
    if level is not None:
        at = top + (1 - level) * side
        grid += f'<path d="M{left} {at}h{side}" stroke="#999" stroke-dasharray="4 4"/>'
        grid += f'<text x="{left + side - 4}" y="{at - 5}" text-anchor="end" fill="#777">{level_name}</text>'
    return (
        f'<svg width="{left + side + 24}" height="{top + side + 30}" font-size="11" font-family="system-ui">'
        f'<text x="{left}" y="16" font-size="13">{title}</text>{grid}'
        f'<polyline points="{points}" fill="none" stroke="#b3350f" stroke-width="2"/></svg>'
    )


_LEGEND = (
    '<p class="note">Scores are coloured from the 1st to the 99.9th percentile of their own frame, given below each. '
    "Truth: light known, red anomaly, grey void.</p>"
)


def _worst(records: Sequence[FrameRecord], pictures: Pictures) -> str:
    scored = [record for record in records if record.error is None]
    missed = sorted((r for r in scored if r.auprc is not None), key=lambda r: r.auprc or 0)[:_WORST]
    normal = [r for r in scored if r.n_anomaly == 0 and r.top_known is not None]
    alarms = sorted(normal, key=lambda r: -(r.top_known or 0))[:_WORST]
    parts = []
    if missed:
        parts.append(f"<h2>Worst frames with an anomaly, by their own AuPRC</h2>{_LEGEND}")
        parts += [_frame(r, f"AuPRC {_percent(r.auprc)}", pictures) for r in missed]
    if alarms:
        parts.append(f"<h2>Frames without an anomaly, by their highest score</h2>{_LEGEND}")
        parts += [_frame(r, f"highest score {r.top_known:.4g}", pictures) for r in alarms]
    return "\n".join(parts)


def _frame(record: FrameRecord, figure: str, pictures: Pictures) -> str:
    shown = "".join(
        f'<figure><img src="{_inline(image)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        for caption, image in pictures(record.name).items()
    )
    return f'<h3>{html.escape(record.name)} <span class="note">{figure}</span></h3><div class="row">{shown}</div>'


def _inline(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    small = cv2.resize(image, (_PICTURE_WIDTH, max(1, height * _PICTURE_WIDTH // width)), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _table(table: PaperTable, figures: Mapping[str, Any]) -> str:
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
        _percent(_figure(figures, key)) if data == "this data" or _is_of(data, dataset) else "-"
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
    return (
        f"<h3>{html.escape(table.title)}</h3>"
        f'<div class="wide"><table><tr><th></th>{head}</tr><tr><th></th>{labels}</tr>{"".join(rows)}</table></div>'
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


def _percent(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"
