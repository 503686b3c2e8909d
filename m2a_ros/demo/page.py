"""The demo's HTML page: one file with everything in it, plots as SVG and pictures as JPEG."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import cv2
import numpy as np

from m2a_core.metrics.pixel import PixelResult
from m2a_core.reporting.charts import Axis, Series, histogram, line_chart
from m2a_ros.demo.scoring import Scores
from m2a_ros.demo.summary import LiveFigures

_CHARTS = files("m2a_core.reporting") / "templates" / "charts.css"
_FLIP_WIDTH = 640
_FLIP_PERIOD_MS = 100
_STYLE = """
body { font-family: system-ui, sans-serif; color: #222; max-width: 1180px; margin: 24px auto; padding: 0 16px }
pre { background: #f4f4f4; padding: 12px; overflow-x: auto } figure { margin: 16px 0 }
.charts { display: flex; flex-wrap: wrap; gap: 16px } .charts > div { flex: 1 1 480px }
img { max-width: 100% } figcaption { color: #555; font-size: 14px }
"""
_SCRIPT = """
const frames = document.querySelectorAll('#flip img'); let shown = 0;
setInterval(() => {
  const last = frames.length - 1; const step = shown % Math.max(1, 2 * last); shown += 1;
  frames.forEach((f, i) => { f.hidden = i !== (step <= last ? step : 2 * last - step) });
}, PERIOD);
"""


def render(text: str, figures: LiveFigures, scores: Scores, sheet: np.ndarray, frames: Sequence[np.ndarray]) -> str:
    """Render the page.

    Args:
        text: the summary as printed.
        figures: of the live part.
        scores: against the ground truth.
        sheet: uint8 [H, W, 3], RGB, the contact sheet.
        frames: uint8 [H, W, 3], RGB, the video's frames in order.
    """
    charts = "".join(f"<div>{chart}</div>" for chart in (*_live_charts(figures), _precision_recall(scores)))
    flip = "".join(_image(_small(frame), 75, hidden=i > 0) for i, frame in enumerate(frames))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>m2a demo</title>'
        f"<style>{_CHARTS.read_text()}{_STYLE}</style></head><body><h1>m2a demo</h1><pre>{escape(text)}</pre>"
        f'<figure id="flip">{flip}<figcaption>What the node published for each frame of the clip, drawn over it. '
        "In the corner: the anomaly map.</figcaption></figure>"
        f'<div class="charts">{charts}</div>'
        f"<figure>{_image(sheet, 85)}<figcaption>Composed objects (outlined), anomaly maps and overlays."
        f"</figcaption></figure><script>{_SCRIPT.replace('PERIOD', str(_FLIP_PERIOD_MS))}</script></body></html>\n"
    )


def _live_charts(figures: LiveFigures) -> tuple[str, str]:
    marks = [(f"p{p}: {value:.0f} ms", value) for p, value in figures.percentiles_ms.items()]
    latency = histogram(
        "Latency: camera stamp to anomaly map received", figures.latency_ms, Axis("milliseconds", 0.0), marks=marks
    )
    seconds = np.arange(len(figures.per_second), dtype=np.float64)
    sent, answered = figures.per_second[:, 0].astype(np.float64), figures.per_second[:, 1].astype(np.float64)
    drops = line_chart(
        "Frames per second",
        [
            Series("sent", seconds, sent),
            Series("answered", seconds, answered),
            Series("dropped", seconds, sent - answered),
        ],
        Axis("second of the run"),
        Axis("frames", 0.0),
    )
    return latency, drops


def _precision_recall(scores: Scores) -> str:
    lines = [_curve("published anomaly map", scores.published)]
    if scores.baseline is not None:
        lines.append(_curve("maximum softmax", scores.baseline))
    return line_chart(
        f"Precision and recall on {scores.frames} frames", lines, Axis("recall", 0.0, 1.0), Axis("precision", 0.0, 1.0)
    )


def _curve(name: str, result: PixelResult) -> Series:
    return Series(f"{name}: {100 * result.auprc:.1f} %", result.curve.recall, result.curve.precision)


def _small(frame: np.ndarray) -> np.ndarray:
    height = round(frame.shape[0] * _FLIP_WIDTH / frame.shape[1])
    return cv2.resize(frame, (_FLIP_WIDTH, height), interpolation=cv2.INTER_AREA)


def _image(picture: np.ndarray, quality: int, hidden: bool = False) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return f'<img alt=""{" hidden" if hidden else ""} src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
