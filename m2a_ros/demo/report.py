"""From a recording to the files and the text that the demo leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from m2a_core.bundle.loading import ModelBundle
from m2a_core.compose.clip import Clip
from m2a_core.metrics.pixel import PixelResult
from m2a_ros.demo import page, pictures, scoring
from m2a_ros.demo.orchestrate import Recording
from m2a_ros.demo.records import ANOMALY
from m2a_ros.demo.scoring import Scores
from m2a_ros.demo.summary import LiveFigures, live_figures, mismatches

FILES = ("overlay.mp4", "contact_sheet.png", "report.html", "figures.json")
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Outcome:
    """How the demo ended.

    Attributes:
        text: one screen of text.
        is_sound: at least one map came, and every output belongs to a frame that was sent.
    """

    text: str
    is_sound: bool


def check(recording: Recording) -> list[str]:
    """What is wrong with the recording, one line each; empty when every output belongs to a sent frame."""
    problems = mismatches(recording.sent, recording.received)
    problems += mismatches(recording.overlay_sent, recording.overlay_received)
    if not any(r.output == ANOMALY for r in recording.received):
        problems.append(f"{ANOMALY}: none came")
    return problems


def write_report(recording: Recording, clip: Clip, bundle: ModelBundle, out: Path) -> Outcome:
    """Score the recording, draw it and write the files.

    Args:
        recording: of the live part.
        clip: the clip that was played.
        bundle: the model that the node ran.
        out: folder for the files.

    Raises:
        DataError: the clip or the video cannot be read back.
    """
    figures = live_figures(recording.sent, recording.received)
    problems, overlays = check(recording), len(recording.overlay_received)
    maps = scoring.recorded_maps(recording.maps)
    drawn = [i for i in sorted(maps) if ANOMALY in maps[i]]
    if not drawn:
        return Outcome(summary_text(figures, None, problems, bundle.manifest.name, overlays, out), is_sound=False)
    baseline = scoring.baseline_bundle(bundle)
    scores = scoring.score(clip, maps, baseline, lambda frames: tqdm(list(frames), desc=" scoring", unit="frame"))
    labels = bundle.manifest.labels
    frames = [pictures.video_frame(clip.image(i), maps[i], labels) for i in tqdm(drawn, desc=" drawing", unit="frame")]
    sheet = pictures.contact_sheet(clip, maps, labels)
    text = summary_text(figures, scores, problems, bundle.manifest.name, overlays, out)
    pictures.write_video(out / "overlay.mp4", frames)
    cv2.imwrite(str(out / "contact_sheet.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    (out / "report.html").write_text(page.render(text, figures, scores, sheet, frames), encoding="utf-8")
    (out / "figures.json").write_text(_as_json(figures, scores, problems), encoding="utf-8")
    return Outcome(text, is_sound=not problems)


def summary_text(
    figures: LiveFigures, scores: Scores | None, problems: Sequence[str], model: str, overlays: int, out: Path
) -> str:
    """One screen of text.

    Args:
        figures: of the live part.
        scores: against the ground truth, or None without maps.
        problems: what ``check`` found.
        model: name of the model.
        overlays: overlays that the node drew and published when they were listened to, after the measurement.
        out: folder of the files.
    """
    lines = [
        f"model       {model}",
        f"sent        {figures.sent} frames, {figures.sent_rate:.1f} per second",
        f"published   {figures.maps} anomaly maps, {figures.map_rate:.1f} per second; "
        f"{figures.markers} markers, {overlays} overlays",
        f"dropped     {figures.dropped} frames: a newer one came first",
    ]
    if figures.percentiles_ms:
        values = ", ".join(f"p{p} {value:.0f}" for p, value in figures.percentiles_ms.items())
        lines.append(f"latency     {values} ms, from the camera's stamp to the map received")
    if scores is not None:
        lines.append(f"accuracy    {_accuracy(scores.published)}: published anomaly maps, {scores.frames} frames")
        if scores.baseline is not None:
            network = f"network before the outlier stage ({scores.baseline_model})"
            if scores.baseline_model == model:
                network = "the same network"
            lines.append(f"            {_accuracy(scores.baseline)}: plain maximum softmax of {network}")
        else:
            lines.append(
                f"            no baseline: the graph of {scores.baseline_model} gives no logits; export it anew"
            )
    if problems:
        lines.append(f"checks      FAILED, {len(problems)} times:")
        lines += [f"            {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    else:
        lines.append("checks      every output has the stamp and frame of an image that was sent")
    if scores is not None:
        lines.append(f"files       {out}/: {', '.join(FILES)}")
    return "\n".join(lines)


def _accuracy(result: PixelResult) -> str:
    return f"AuPRC {100 * result.auprc:5.1f} %, FPR95 {100 * result.fpr95:5.1f} %"


def _as_json(figures: LiveFigures, scores: Scores, problems: Sequence[str]) -> str:
    data = {
        "sent": figures.sent,
        "sent_per_second": figures.sent_rate,
        "maps": figures.maps,
        "maps_per_second": figures.map_rate,
        "dropped": figures.dropped,
        "latency_ms": {f"p{p}": value for p, value in figures.percentiles_ms.items()},
        "outputs": figures.outputs,
        "markers": figures.markers,
        "frames_scored": scores.frames,
        "published": {"auprc": scores.published.auprc, "fpr95": scores.published.fpr95},
        "maximum_softmax_of": scores.baseline_model,
        "maximum_softmax": scores.baseline and {"auprc": scores.baseline.auprc, "fpr95": scores.baseline.fpr95},
        "problems": list(problems),
    }
    return json.dumps(data, indent=2) + "\n"
