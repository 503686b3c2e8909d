"""The report a person reads: one HTML file with figures, curves, the worst frames and the paper's tables."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core import __version__
from m2a_core.evaluation.evaluator import Evaluation
from m2a_core.evaluation.paper_tables import PAPER_TABLES
from m2a_core.evaluation.pictures import FALSE_ALARM, FOUND, MISSED, Pictures, Reading
from m2a_core.evaluation.report_tables import NOTE, compared, paper_table, percent
from m2a_core.evaluation.shards import FrameRecord

_WORST = 6
_PICTURE_WIDTH = 360

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1c1c1e;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
h3{margin:1.2rem 0 .3rem;font-size:1rem}
.cards{display:flex;flex-wrap:wrap;gap:.7rem;margin:1rem 0}
.card{border:1px solid #ddd;border-radius:8px;padding:.5rem .8rem}
.card b{display:block;font-size:1.5rem}.card span,.note,figcaption{color:#666;font-size:.85rem}
.row{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;flex:1 1 200px;max-width:360px}
img{display:block;width:100%}details{margin:.6rem 0}summary{cursor:pointer;font-weight:600}
i.key{display:inline-block;width:.8em;height:.8em;margin:0 .25em 0 .7em;border-radius:2px}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}th,td{padding:.15rem .5rem;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.mine{background:#fff3d6;font-weight:600}.bad{color:#a00}
"""

_CARDS = (
    ("auprc", "AuPRC", "pixels, higher is better"),
    ("fpr95", "FPR95", "pixels, lower is better"),
    ("auroc", "AUROC", "pixels, higher is better"),
    ("f1_star", "F1*", "objects, higher is better"),
    ("siou", "sIoU", "objects, higher is better"),
    ("ppv", "PPV", "objects, higher is better"),
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
    parts = [f"<h1>{html.escape(title)}</h1>", _conditions(figures), _cards(figures)]
    if "scores" in figures:
        parts.append(compared(figures["scores"], [(key, label) for key, label, _ in _CARDS]))
    if evaluation is not None:
        if len(evaluation.pixel.curve.recall):
            parts += ["<h2>Curves</h2>", _curves(evaluation, figures)]
        parts.append(_frames(evaluation, pictures))
    parts += ["<h2>Beside the paper</h2>", NOTE, *(paper_table(table, figures) for table in PAPER_TABLES)]
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


def _cards(figures: Mapping[str, Any]) -> str:
    shown = [(label, note, figures[key]) for key, label, note in _CARDS if key in figures]
    shown += [(f"PQ {group}", "Eq. 27", q["pq"]) for group, q in figures.get("panoptic", {}).items()]
    cards = (
        f'<div class="card"><span>{label}</span><b>{percent(value)}</b><span>{note}</span></div>'
        for label, note, value in shown
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def _conditions(figures: Mapping[str, Any]) -> str:
    said = [f"{figures['n_frames']} frames"]
    if "score" in figures:
        said.insert(0, f"score <b>{html.escape(figures['score'])}</b>")
    if "n_pixels" in figures:
        share = figures["n_anomaly_pixels"] / max(1, figures["n_pixels"])
        said[-1] += f", {figures['n_pixels']:,} pixels, {100 * share:.2g} % of them anomalous"
        exact, binned = figures["exact"], figures["smiyc_binned"]
        other = ("exact: ", exact) if figures["pixel_rule"] != "exact" else ("by the SMIYC code, which bins: ", binned)
        said.append(
            f"pixel figures: {figures['pixel_rule']} ({other[0]}AuPRC {percent(other[1]['auprc'])}, "
            f"FPR95 {percent(other[1]['fpr95'])})"
        )
        threshold = figures["threshold"]
        at = "no threshold" if threshold is None else f"score &gt; {threshold:.6g}"
        said.append(f"objects: SMIYC's {figures['track']} track, {at} ({figures['threshold_rule']})")
    return f'<p class="note">{"<br>".join(said)}</p>'


def _curves(evaluation: Evaluation, figures: Mapping[str, Any]) -> str:
    curve, pixel = evaluation.pixel.curve, evaluation.pixel
    share = figures["n_anomaly_pixels"] / figures["n_pixels"]
    recall, precision = np.append(0, curve.recall), np.append(curve.precision[0], curve.precision)
    at = int(np.argmin(np.abs(curve.threshold - pixel.best_f1_threshold)))
    best = (float(curve.recall[at]), float(curve.precision[at]), f"best F1 {percent(pixel.best_f1)}")
    pr = _plot(("Precision over recall", "recall", "precision"), recall, precision, share, best)
    fpr, tpr = np.concatenate(([0], curve.fpr, [1])), np.concatenate(([0], curve.recall, [1]))
    caught = (pixel.fpr95, 0.95, f"95 % found, {percent(pixel.fpr95)} % false")
    roc = _plot(("ROC", "false-positive rate", "true-positive rate"), fpr, tpr, None, caught)
    return f'<div class="row">{pr}{roc}</div><p class="note">Exact curves of all pixels together.</p>'


def _plot(
    names: tuple[str, str, str], x: np.ndarray, y: np.ndarray, level: float | None, mark: tuple[float, float, str]
) -> str:
    """Draw a curve in the unit square as SVG, with a dashed level of chance and a marked point."""
    left, top, side = 58, 28, 380
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
        grid += f'<text x="{left + 4}" y="{at - 5}" fill="#777">chance</text>'
    title, x_name, y_name = names
    dot_x, dot_y = left + mark[0] * side, top + (1 - mark[1]) * side
    anchor, shift = ("start", 8) if mark[0] < 0.5 else ("end", -8)
    return (
        f'<svg width="{left + side + 24}" height="{top + side + 46}" font-size="12" font-family="system-ui">'
        f'<text x="{left}" y="16" font-size="14" font-weight="600">{title}</text>{grid}'
        f'<text x="{left + side / 2}" y="{top + side + 38}" text-anchor="middle">{x_name}</text>'
        f'<text transform="rotate(-90 14 {top + side / 2})" x="14" y="{top + side / 2}" text-anchor="middle">{y_name}'
        f'</text><polyline points="{points}" fill="none" stroke="#b3350f" stroke-width="2"/>'
        f'<circle cx="{dot_x:.1f}" cy="{dot_y:.1f}" r="4.5" fill="#fff" stroke="#b3350f" stroke-width="2"/>'
        f'<text x="{dot_x + shift:.1f}" y="{dot_y + 18:.1f}" text-anchor="{anchor}" fill="#7a2409">{mark[2]}</text>'
        "</svg>"
    )


def _legend(reading: Reading) -> str:
    keys = [("anomaly", (200, 30, 30)), ("known", (235, 235, 235)), ("void", (90, 90, 90))]
    colored = (
        [("found", FOUND), ("missed", MISSED), ("false alarm", FALSE_ALARM)] if reading.threshold is not None else []
    )
    scale = (
        "Scores: dark to bright by the frame's own 1st to 99.9th percentile."
        if reading.low is None
        else f"Scores: dark {reading.low:.4g} (half of the known pixels reach it) to bright {reading.high:.4g} (the "
        "highest anomalous score), the same in all frames."
    )
    swatches = "".join(f'<i class=key style="background:rgb{color}"></i>{name}' for name, color in keys)
    swatches += " &nbsp; decision:" if colored else ""
    swatches += "".join(f'<i class=key style="background:rgb{color}"></i>{name}' for name, color in colored)
    return f'<p class="note">{scale}<br>Truth:{swatches}</p>'


def _frames(evaluation: Evaluation, pictures: Pictures) -> str:
    """The worst frames as pictures, and a list of all of them."""
    scored = [record for record in evaluation.records if record.error is None]
    missed = sorted((r for r in scored if r.auprc is not None), key=lambda r: r.auprc or 0)
    normal = [r for r in scored if r.n_anomaly == 0 and r.top_known is not None]
    alarms = sorted(normal, key=lambda r: -(r.top_known or 0))
    reading = _reading(evaluation)
    parts = []
    if missed:
        parts.append(f"<h2>Worst frames with an anomaly, by their own AuPRC</h2>{_legend(reading)}")
        parts += [
            _frame(r, f"AuPRC {percent(r.auprc)}, {r.n_anomaly:,} anomalous pixels", pictures, reading)
            for r in missed[:_WORST]
        ]
    if alarms:
        parts.append(f"<h2>Frames without an anomaly, by their highest score</h2>{_legend(reading)}")
        parts += [_frame(r, f"highest score {r.top_known:.4g}", pictures, reading) for r in alarms[:_WORST]]
    rows = "".join(
        f"<tr><td>{html.escape(r.name)}</td><td>{percent(r.auprc)}</td><td>{r.n_anomaly:,}</td><td>{r.n_known:,}</td>"
        f"<td>{'-' if r.top_known is None else format(r.top_known, '.4g')}</td></tr>"
        for r in (*missed, *alarms)
    )
    parts.append(
        f"<details><summary>All {len(scored)} frames</summary><table><tr><th>frame</th><th>AuPRC</th>"
        f"<th>anomalous pixels</th><th>known pixels</th><th>highest known score</th></tr>{rows}</table></details>"
    )
    return "\n".join(parts)


def _reading(evaluation: Evaluation) -> Reading:
    curve = evaluation.pixel.curve
    if not len(curve.threshold):
        return Reading(None, None, evaluation.threshold)
    half = int(np.searchsorted(curve.fpr, 0.5))
    return Reading(
        float(curve.threshold[min(half, len(curve.threshold) - 1)]), float(curve.threshold[0]), evaluation.threshold
    )


def _frame(record: FrameRecord, figure: str, pictures: Pictures, reading: Reading) -> str:
    shown = "".join(
        f'<figure><img src="{_inline(image)}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, image in pictures(record.name, reading).items()
    )
    return f'<h3>{html.escape(record.name)} <span class="note">{figure}</span></h3><div class="row">{shown}</div>'


def _inline(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    small = cv2.resize(image, (_PICTURE_WIDTH, max(1, height * _PICTURE_WIDTH // width)), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
