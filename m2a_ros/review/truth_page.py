"""The report's sections on ground truth; each takes ``truth`` of ``summary.json`` and is empty without it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from m2a_ros.review import charts
from m2a_ros.review.look import figure, percent, table

_MAX_ROWS = 200


def truth_table(truth: Mapping[str, Any] | None) -> str:
    """Figures overall and by segment, and the curves."""
    if not truth:
        return ""
    overall = truth["overall"]
    rows = [_metric_row("All frames", overall)]
    rows += [_metric_row(f"{s['bag']}, {s['segment']}", s) for s in truth["segments"][:_MAX_ROWS]]
    metrics = table(
        f"Overall and by segment; components at score > {figure(overall['threshold'])} ({overall['threshold_rule']}), "
        f"{truth['track']} track",
        ("Segment", "Frames", "AuPRC", "FPR95", "AUROC", "best F1", "F1*", "sIoU", "PPV"), rows, 0,
    )  # fmt: skip
    lines = truth["curve"]
    curves = ""
    if lines["recall"]:
        pr = charts.curve("Precision over recall", [("", lines["recall"], lines["precision"])], "recall", "precision")
        roc = charts.curve("True over false positive rate", [("", lines["fpr"], lines["recall"])],
                           "false-positive rate", "true-positive rate")  # fmt: skip
        curves = f'<div class="two"><figure class="panel">{pr}</figure><figure class="panel">{roc}</figure></div>'
    scored = f"{truth['frames_scored']} frames scored, {truth['frames_without_truth']} without ground truth."
    return f"<p>{scored}</p>{metrics}{curves}"


def _metric_row(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    keys = ("auprc", "fpr95", "auroc", "best_f1", "f1_star", "siou", "ppv")
    return (escape(name), str(of["n_frames"]), *(percent(of[key], 2) for key in keys))


def objects_table(truth: Mapping[str, Any] | None) -> str:
    """True objects: found when, and from how far."""
    if not truth or not truth["objects"]:
        return ""
    rows = [
        (
            escape(f"{o['bag']}, {o['camera']}, {o['object']}"), f"{o['frames_found']} of {o['frames_visible']}",
            percent(o["recall"]), "never" if o["delay_frames"] is None else str(o["delay_frames"]),
            figure(o["delay_s"], 2), figure(o["first_visible_distance_m"], 1), figure(o["first_found_distance_m"], 1),
        )
        for o in truth["objects"][:_MAX_ROWS]
    ]  # fmt: skip
    notes = "; ".join(f"{camera}: {note}" for camera, note in truth["distances"].items())
    head = ("Object", "Frames found", "Recall", "Delay in frames", "Delay in s", "Seen from m", "Found from m")
    return table(f"Objects by {truth['objects_by']}. Distances: {notes}", head, rows)


def thresholds_table(truth: Mapping[str, Any] | None) -> str:
    """What each threshold gives."""
    if not truth or not truth["thresholds"]:
        return ""
    marked = [row["threshold"] for row in truth["thresholds"]].index(truth["model_threshold"])
    rows = [
        (
            figure(row["threshold"], 4), percent(row["tpr"]), percent(row["fpr"], 3), percent(row["f1_star"]),
            percent(row["siou"]), percent(row["ppv"]), str(row["false_alarms"]),
            figure(row["false_alarms_per_minute"], 2),
        )
        for row in truth["thresholds"]
    ]  # fmt: skip
    head = ("Threshold", "TPR", "FPR", "F1*", "sIoU", "PPV", "False alarms", "per minute")
    return table(
        f"What each threshold gives, over {truth['minutes']:.2f} minutes of scored frames; the model's own is marked. "
        "A false alarm is a component without one anomalous pixel", head, rows, marked,
    )  # fmt: skip


def scores_table(truth: Mapping[str, Any] | None) -> str:
    """Anomaly scores on the same outputs of the network, best AuPRC first."""
    scores = (truth or {}).get("scores")
    if not scores:
        return ""
    ranked = sorted(scores.items(), key=lambda entry: -(entry[1]["auprc"] or 0))
    rows = [(escape(n), *(percent(of[key], 2) for key in ("auprc", "fpr95", "auroc", "best_f1"))) for n, of in ranked]
    return table("On the same outputs of the network", ("Score", "AuPRC", "FPR95", "AUROC", "best F1"), rows)
