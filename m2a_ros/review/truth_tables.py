"""The report's figures against ground truth; all of it is made of ``truth`` of ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m2a_core.reporting.charts import Series, line_chart
from m2a_core.reporting.page import DASH, count, number, percent
from m2a_core.reporting.plot import Axis

MIN_MINUTES = 1.0
"""False alarms a minute are told from so much driving on: extrapolated from seconds they say nothing."""

_MAX_ROWS = 200
_UNIT = (0.0, 1.0)
_METRICS = ("auprc", "fpr95", "auroc", "best_f1", "f1_star", "siou", "ppv")


def truth_context(truth: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any]:
    """What the template shows; empty tables without ground truth.

    Args:
        truth: of ``summary.json``.
        names: bag -> what it is called.
    """
    empty: dict[str, Any] = {"truth": None, "segments": [], "curves": [], "objects": [], "thresholds": [], "scores": []}
    if not truth:
        return empty
    overall = truth["overall"]
    rows = [_metric_row("All frames", overall)]
    rows += [_metric_row(f"{names[s['bag']]}, {s['segment']}", s) for s in truth["segments"][:_MAX_ROWS]]
    ranked = sorted((truth.get("scores") or {}).items(), key=lambda entry: -(entry[1]["auprc"] or 0))
    own = [row["threshold"] for row in truth["thresholds"]]
    return {
        "truth": truth,
        "scored": f"{count(truth['frames_scored'], 'frame')} scored, {truth['frames_without_truth']} without truth.",
        "segments": rows,
        "segment_caption": f"Components at score > {number(overall['threshold'])} ({overall['threshold_rule']}), not "
        f"at the model's own threshold {number(truth['model_threshold'])}; {truth['track']} track",
        "curves": _curves(truth["curve"]),
        "objects": [_object_row(found, names) for found in truth["objects"][:_MAX_ROWS]],
        "object_caption": f"Objects by {truth['objects_by']}. Distances: "
        + "; ".join(f"{camera}: {note}" for camera, note in truth["distances"].items()),
        "thresholds": _threshold_rows(truth),
        "threshold_caption": f"What each threshold gives, over {_duration(truth['minutes'])} of scored frames; the "
        "model's own is marked. A false alarm is a component without one anomalous pixel",
        "own": own.index(truth["model_threshold"]) if truth["model_threshold"] in own else None,
        "scores": [
            (name, *(percent(of[key], 2) for key in ("auprc", "fpr95", "auroc", "best_f1"))) for name, of in ranked
        ],
    }


def _metric_row(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    return (name, str(of["n_frames"]), *(percent(of[key], 2) for key in _METRICS))


def _curves(lines: Mapping[str, list[float]]) -> list[Any]:
    if not lines["recall"]:
        return []
    recall, precision, fpr = (np.array(lines[key]) for key in ("recall", "precision", "fpr"))
    # The curve's points end where everything is found; the rest of it is straight.
    whole = Series("", np.concatenate(([0], fpr, [1])), np.concatenate(([0], recall, [1])))
    return [
        line_chart(
            "Precision over recall", [Series("", recall, precision)], Axis("recall", *_UNIT), Axis("precision", *_UNIT)
        ),
        line_chart("ROC", [whole], Axis("false-positive rate", *_UNIT), Axis("true-positive rate", *_UNIT)),
    ]


def _object_row(found: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        f"{names[found['bag']]}, {found['camera']}, {found['object']}",
        f"{found['frames_found']} of {found['frames_visible']}",
        percent(found["recall"]),
        "never" if found["delay_frames"] is None else str(found["delay_frames"]),
        number(found["delay_s"], 2),
        number(found["first_visible_distance_m"], 1),
        number(found["first_found_distance_m"], 1),
    )


def _threshold_rows(truth: Mapping[str, Any]) -> list[tuple[str, ...]]:
    enough = truth["minutes"] >= MIN_MINUTES
    return [
        (
            number(row["threshold"], 4),
            percent(row["tpr"]),
            percent(row["fpr"], 3),
            percent(row["f1_star"]),
            percent(row["siou"]),
            percent(row["ppv"]),
            str(row["false_alarms"]),
            number(row["false_alarms_per_minute"], 2) if enough else DASH,
        )
        for row in truth["thresholds"]
    ]


def _duration(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes >= MIN_MINUTES else f"{60 * minutes:.1f} seconds (too short for a rate)"
