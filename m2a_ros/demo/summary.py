"""From a replayed drive to the files and the text that the demo leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from m2a_core.bundle.loading import ModelBundle
from m2a_core.compose.clip import Clip
from m2a_core.files import write_json
from m2a_core.reporting.page import count, percent
from m2a_ros.demo.contact_sheet import contact_sheet
from m2a_ros.demo.drive import CAMERA, Drive
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.review.layout import film_path
from m2a_ros.review.session import REPORT

VIDEO, SHEET, FIGURES = "overlay.webm", "contact_sheet.png", "figures.json"


@dataclass(frozen=True)
class Outcome:
    """How the demo ended.

    Attributes:
        text: one screen of text.
        is_sound: at least one frame was answered, and every output belongs to a frame that was sent.
    """

    text: str
    is_sound: bool


def summarize(drive: Drive, clip: Clip, bundle: ModelBundle, out: Path) -> Outcome:
    """Write the files into ``out``.

    Raises:
        DataError: the replay's results are damaged.
        OSError: ``out`` cannot be written.
    """
    figures = _figures(drive, bundle)
    names = [SHEET, REPORT, FIGURES]
    film = film_path(drive.results / drive.source.name, CAMERA)
    if film.is_file():
        shutil.copy(film, out / VIDEO)
        names.insert(0, VIDEO)
    sheet = contact_sheet(drive, clip, bundle.manifest.labels)
    if sheet is None:
        names.remove(SHEET)
    else:
        cv2.imwrite(str(out / SHEET), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    shutil.copy(drive.results / REPORT, out / REPORT)
    write_json(out / FIGURES, figures)
    return Outcome(_text(figures, bundle.manifest.name, out, names), not figures["problems"])


def _figures(drive: Drive, bundle: ModelBundle) -> dict[str, Any]:
    bag, truth = drive.summary["bags"][0], drive.summary["truth"]
    live = bag["realtime"]
    problems = list(live["outputs_of_no_image"]["first"])
    if not live["answered"]:
        problems.append("no frame was answered")
    softmax = truth["scores"]["msp"]
    return {
        "sent": live["sent"],
        "sent_per_second": drive.rate,
        "maps": live["answered"],
        "maps_per_second": live["answered"] / live["seconds"],
        "dropped": live["sent"] - live["answered"],
        "lost": live["lost"],
        "latency_ms": live["latency_ms"] or {},
        "outputs": {spec.topic: live["answered"] for spec in MAPS},
        "frames_scored": truth["frames_scored"],
        "published": {key: truth["pixel"][key] for key in ("auprc", "fpr95")},
        "maximum_softmax_of": bundle.manifest.name,
        "maximum_softmax": {key: softmax[key] for key in ("auprc", "fpr95")},
        "problems": problems,
    }


def _text(figures: Mapping[str, Any], model: str, out: Path, names: list[str]) -> str:
    lost = ", ".join(f"{number} {reason}" for reason, number in figures["lost"].items())
    lines = [
        f"model       {model}",
        f"sent        {count(figures['sent'], 'frame')}, {figures['sent_per_second']:.1f} per second",
        f"published   {count(figures['maps'], 'anomaly map')}, {figures['maps_per_second']:.1f} per second",
        f"dropped     {count(figures['dropped'], 'frame')}{f' ({lost})' if lost else ''}: a newer one came first",
    ]
    if figures["latency_ms"]:
        values = ", ".join(f"{p} {figures['latency_ms'][p]:.0f}" for p in ("p50", "p95", "p99"))
        lines.append(f"latency     {values} ms, from sending a frame to the last of its maps")
    if figures["frames_scored"]:
        scored = count(figures["frames_scored"], "frame")
        lines.append(
            f"accuracy    {_accuracy(figures['published'])}: published anomaly maps, {scored} of the first rounds"
        )
        lines.append(f"            {_accuracy(figures['maximum_softmax'])}: plain maximum softmax of the same network")
    if figures["problems"]:
        lines.append(f"checks      FAILED: {'; '.join(figures['problems'])}")
    else:
        lines.append("checks      every output has the stamp and frame of an image that was sent")
    return "\n".join([*lines, f"files       {out}/: {', '.join(names)}"])


def _accuracy(of: Mapping[str, float | None]) -> str:
    return f"AuPRC {percent(of['auprc'])}, FPR95 {percent(of['fpr95'])}"
