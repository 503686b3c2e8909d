"""A replay's summary in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_ros.images.decoding import BYTES_AFTER_END, WITHOUT_END
from m2a_ros.review.measured import MODE_REPORTS

_ODDITIES = {
    BYTES_AFTER_END: "have bytes after the end of their JPEG or PNG",
    WITHOUT_END: "lack the end of their JPEG",
}


@dataclass(frozen=True)
class Outcome:
    """How a replay ended.

    Attributes:
        complete: every image was evaluated and every ground-truth mask was used.
        text: for the terminal.
    """

    complete: bool
    text: str


def outcome_of(summary: Mapping[str, Any], out: Path) -> Outcome:
    """Put a summary into words; what was left out comes first to the eye.

    Args:
        summary: contents of ``summary.json``.
        out: the folder it is in.
    """
    lines, complete = [], True
    for bag in summary["bags"]:
        measured = MODE_REPORTS.get(summary["mode"])
        if measured:
            lines += [f"{bag['path']}: {line}" for line in measured(bag[summary["mode"]])]
            complete &= not bag[summary["mode"]].get("outputs_of_no_image", {}).get("count")
            continue
        lines.append(f"{bag['path']}: {bag['evaluated']} of {bag['messages']} images evaluated")
        for reason, count in bag["not_evaluated"].items():
            complete = False
            lines.append(f"  NOT evaluated: {count} ({reason}); see problems.jsonl")
        lines += [f"  {topic} left out: {why}" for topic, why in bag["skipped_topics"].items()]
        lines += [f"  {line}" for name, camera in bag["cameras"].items() for line in _camera(name, camera)]
    for bag in summary["failed_bags"]:
        complete = False
        lines.append(f"NOT evaluated: {bag['error']}")
    truth = summary["truth"]
    if truth is not None:
        # In mode realtime frames without an answer, and so masks without a frame, are what is measured.
        unused = summary["mode"] != "realtime" and truth["masks_without_frame"]["count"]
        complete &= not truth["failed"]["count"] and not unused
        lines += _truth(truth)
    network = summary["latencies_ms"].get("network")
    if network:
        lines.append(f"network: {network['p50']:.1f} ms median, {network['p99']:.1f} ms at the 99th percentile")
    if summary["hash"] is not None:
        lines.append(f"hash of all frames: {summary['hash']}")
    lines.append(f"written to {out}; report: {out / 'report.html'}")
    return Outcome(complete, "\n".join(lines))


def _camera(name: str, camera: Mapping[str, Any]) -> list[str]:
    found = f"{camera['unknown_instances']} unknown instances in {camera['frames_with_unknown_instances']} frames"
    lines = [f"{name}: {camera['frames']} frames, {found}"]
    if len(camera["sizes"]) > 1:
        lines.append(f"{name}: resolutions are mixed: {', '.join(f'{n} of {s}' for s, n in camera['sizes'].items())}")
    for key, what in (("stamps_going_back", "go back in time"), ("stamps_repeated", "occur more than once")):
        if camera[key]:
            lines.append(f"{name}: {camera[key]} stamps {what}")
    if camera["stamps_zero"]:
        lines.append(f"{name}: {camera['stamps_zero']} stamps were zero; the time of recording stands in for them")
    if len(camera["frame_ids"]) > 1:
        lines.append(f"{name}: images of several frames are on one topic: {', '.join(camera['frame_ids'])}")
    for oddity, count in camera["odd_images"].items():
        lines.append(f"{name}: {count} images {_ODDITIES[oddity]} but were decoded anyway")
    lines += [f"{name}: {count} frames are degraded: {reason}" for reason, count in camera["degraded"].items()]
    return lines


def _truth(truth: Mapping[str, Any]) -> list[str]:
    pixel = truth["pixel"]
    lines = [
        f"ground truth: {truth['frames_scored']} frames scored, {truth['frames_without_truth']} have none; "
        + ", ".join(f"{key} {_figure(pixel[key])}" for key in ("auprc", "fpr95", "auroc"))
    ]
    for key, what in (("masks_without_frame", "match no frame's stamp"), ("failed", "could not be scored")):
        if truth[key]["count"]:
            lines.append(f"  {truth[key]['count']} masks {what}: {'; '.join(truth[key]['first'])} ...")
    return lines


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
