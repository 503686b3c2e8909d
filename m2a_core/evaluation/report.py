"""The report a person reads: one HTML file with figures, curves, classes, the worst frames and the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.evaluation.evaluator import Evaluation
from m2a_core.evaluation.pictures import ANOMALY as ANOMALY_COLOR
from m2a_core.evaluation.pictures import FALSE_ALARM, FOUND, KNOWN, MISSED, VOID, ClassPictures, Pictures, Reading
from m2a_core.evaluation.report_tables import class_rows, compared, matrix, paper_tables
from m2a_core.files import write_text
from m2a_core.reporting.charts import Series, line_chart
from m2a_core.reporting.page import count, number, percent, render
from m2a_core.reporting.plot import Axis

_WORST = 6
_FRACTION = (0.0, 1.0)
_CARDS = (
    ("auprc", "AuPRC", "pixels, higher is better"),
    ("fpr95", "FPR95", "pixels, lower is better"),
    ("auroc", "AUROC", "pixels, higher is better"),
    ("f1_star", "F1*", "objects"),
    ("siou", "sIoU", "objects"),
    ("ppv", "PPV", "objects"),
    ("miou", "mIoU", "closed set"),
    ("open_iou", "open-IoU", "Eq. 26"),
)


def write_report(
    path: Path,
    title: str,
    evaluation: Evaluation | None,
    figures: Mapping[str, Any],
    pictures: Pictures,
    class_pictures: ClassPictures | None = None,
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        title: what was scored.
        evaluation: anomaly figures, or None where the data set has no anomalies.
        figures: what OUT.json holds.
        pictures: gives a frame's pictures of anomalies.
        class_pictures: gives a frame's pictures of classes; None where classes are not scored.

    Raises:
        OSError: it cannot be written.
    """
    text = render(
        "m2a_core.evaluation",
        "evaluation.html",
        title=title,
        conditions=_conditions(figures),
        cards=_cards(figures),
        failed=[f"{name}: {why}" for name, why in figures.get("failed", {}).items()],
        scores=compared(figures["scores"], [(key, label) for key, label, _ in _CARDS]) if "scores" in figures else None,
        curves=_curves(evaluation, figures) if evaluation is not None and len(evaluation.pixel.curve.recall) else [],
        classes=class_rows(figures) if "confusion" in figures else [],
        matrix=matrix(figures) if "confusion" in figures else None,
        worst_classes=_worst_classes(figures, class_pictures) if class_pictures else [],
        class_legend=class_pictures.legend if class_pictures else [],
        **_frames(evaluation, pictures),
        papers=paper_tables(figures),
    )
    write_text(path, text)


def _cards(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    threshold = figures.get("threshold")
    at = "" if threshold is None else f" at score > {threshold:.4g}"
    shown = [
        (label, percent(figures[key], 2), note + at * (note == "objects"))
        for key, label, note in _CARDS
        if key in figures
    ]
    return shown + [(f"PQ {group}", percent(q["pq"], 2), "Eq. 27") for group, q in figures.get("panoptic", {}).items()]


def _conditions(figures: Mapping[str, Any]) -> list[str]:
    said = [count(figures["n_frames"], "frame")]
    if "n_pixels" in figures:
        share = figures["n_anomaly_pixels"] / max(1, figures["n_pixels"])
        said[0] += f", {figures['n_pixels']:,} pixels, {100 * share:.2g} % of them anomalous"
        exact, binned = figures["exact"], figures["smiyc_binned"]
        other = ("exact: ", exact) if figures["pixel_rule"] != "exact" else ("by the SMIYC code, which bins: ", binned)
        said.append(
            f"Pixel figures: {figures['pixel_rule']} ({other[0]}AuPRC {percent(other[1]['auprc'], 2)}, "
            f"FPR95 {percent(other[1]['fpr95'], 2)})"
        )
        threshold, model = figures["threshold"], figures.get("model_threshold")
        at = "no threshold" if threshold is None else f"score > {threshold:.6g}"
        said.append(f"Objects: SMIYC's {figures['track']} track, {at} ({figures['threshold_rule']})")
        if model is not None and threshold is not None and model != threshold:
            said.append(f"The model's own mask begins at {model:.6g}; `--threshold {model:.6g}` scores that")
    if "score" in figures and "n_pixels" in figures:
        said.insert(0, f"Score: {figures['score']}")
    return said


def _curves(evaluation: Evaluation, figures: Mapping[str, Any]) -> list[Any]:
    curve, pixel = evaluation.pixel.curve, evaluation.pixel
    share = figures["n_anomaly_pixels"] / figures["n_pixels"]
    recall, precision = np.append(0, curve.recall), np.append(curve.precision[0], curve.precision)
    at = int(np.argmin(np.abs(curve.threshold - pixel.best_f1_threshold)))
    best = (f"best F1 {percent(pixel.best_f1)}", float(curve.recall[at]), float(curve.precision[at]))
    fpr, tpr = np.concatenate(([0], curve.fpr, [1])), np.concatenate(([0], curve.recall, [1]))
    caught = (f"95 % found, {percent(pixel.fpr95)} false", pixel.fpr95, 0.95)
    return [
        line_chart(
            "Precision over recall",
            [Series("", recall, precision)],
            Axis("recall", *_FRACTION),
            Axis("precision", *_FRACTION),
            ("chance", share),
            [best],
        ),
        line_chart(
            "ROC",
            [Series("", fpr, tpr)],
            Axis("false-positive rate", *_FRACTION),
            Axis("true-positive rate", *_FRACTION),
            None,
            [caught],
        ),
    ]


def _frames(evaluation: Evaluation | None, pictures: Pictures) -> dict[str, Any]:
    """The worst frames as pictures, and a table of all of them."""
    if evaluation is None:
        return {"missed": [], "alarms": [], "frames": [], "scale": "", "anomaly_legend": []}
    scored = [record for record in evaluation.records if record.error is None]
    missed = sorted((r for r in scored if r.auprc is not None), key=lambda r: r.auprc or 0)
    normal = [r for r in scored if r.n_anomaly == 0 and r.top_known is not None]
    alarms = sorted(normal, key=lambda r: -(r.top_known or 0))
    reading = _reading(evaluation)
    scale = (
        "Scores: dark to bright by the frame's own 1st to 99.9th percentile."
        if reading.low is None
        else f"Scores: dark {reading.low:.4g} (half of the known pixels reach it) to bright {reading.high:.4g} (the "
        "highest anomalous score), the same in all frames."
    )
    return {
        "missed": [
            (r.name, f"AuPRC {percent(r.auprc, 2)}, {count(r.n_anomaly, 'anomalous pixel')}", pictures(r.name, reading))
            for r in missed[:_WORST]
        ],
        "alarms": [(r.name, f"highest score {r.top_known:.4g}", pictures(r.name, reading)) for r in alarms[:_WORST]],
        "frames": [
            (r.name, percent(r.auprc, 2), f"{r.n_anomaly:,}", f"{r.n_known:,}", number(r.top_known, 4))
            for r in (*missed, *alarms)
        ],
        "scale": scale,
        "anomaly_legend": _legend(reading),
    }


def _reading(evaluation: Evaluation) -> Reading:
    curve = evaluation.pixel.curve
    if not len(curve.threshold):
        return Reading(None, None, evaluation.threshold)
    half = int(np.searchsorted(curve.fpr, 0.5))
    return Reading(
        float(curve.threshold[min(half, len(curve.threshold) - 1)]), float(curve.threshold[0]), evaluation.threshold
    )


def _legend(reading: Reading) -> list[tuple[str, str, str]]:
    entries = [("truth: anomaly", ANOMALY_COLOR), ("truth: known", KNOWN), ("truth: void", VOID)]
    if reading.threshold is not None:
        entries += [("decision: found", FOUND), ("decision: missed", MISSED), ("decision: false alarm", FALSE_ALARM)]
    return [("fill", f"rgb{color}", text) for text, color in entries]


def _worst_classes(figures: Mapping[str, Any], pictures: ClassPictures) -> list[tuple[str, str, Any]]:
    frames = sorted(figures["class_frames"].items(), key=lambda frame: frame[1]["miou"])
    return [
        (name, f"mIoU {percent(of['miou'])}, {percent(of['accuracy'])} of its pixels right", pictures.of(name))
        for name, of in frames[:_WORST]
    ]
