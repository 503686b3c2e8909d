"""Pages in one file that load nothing: Jinja2 templates with autoescape, filters for figures, pictures and films."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from m2a_core import __version__
from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet

DASH = "–"
_JPEG_QUALITY = 82


def render(package: str, template: str, **context: object) -> str:
    """Fill a template in.

    Args:
        package: the package whose ``templates`` folder holds it; those of this one are found, too.
        template: its file name; it extends ``page.html``.
        context: what it speaks of.
    """
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("m2a_core.reporting")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., str]] = {
        "percent": percent,
        "number": number,
        "count": count,
        "jpeg": jpeg,
        "film": film,
        "poster": poster,
    }
    environment.filters |= filters
    return environment.get_template(template).render(version=__version__, **context) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A number; a dash where it is undefined."""
    return DASH if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent; a dash where it is undefined."""
    return DASH if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def count(number_of: int, one: str, many: str = "") -> str:
    """A number of things in words: 1 frame, 2 frames."""
    return f"{number_of:,} {one if number_of == 1 else many or one + 's'}"


def jpeg(picture: bytes | np.ndarray, width: int = 640) -> str:
    """A picture as a data URI: a JPEG stream as it is, uint8 [H, W, 3] RGB scaled down to ``width`` pixels."""
    if isinstance(picture, np.ndarray):
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        small = (
            picture if picture.shape[1] <= width else cv2.resize(picture, (width, height), None, 0, 0, cv2.INTER_AREA)
        )
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def film(path: Path) -> str:
    """A WebM file as a data URI."""
    return f"data:video/webm;base64,{base64.b64encode(path.read_bytes()).decode()}"


def poster(path: Path) -> str:
    """A film's first frame as a data URI: shown until it plays; empty where it cannot be read."""
    done, frame = cv2.VideoCapture(str(path)).read()
    return jpeg(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)) if done else ""


def overlay_legend(labels: LabelSet, truth: bool = False) -> list[tuple[str, str, str]]:
    """What an overlay's colours mean: kind of swatch (``fill``, ``line`` or ``corners``), CSS colour, text.

    Args:
        labels: the classes.
        truth: whether true anomalies are outlined.
    """
    entries = [
        ("fill", f"rgb{UNKNOWN_COLOR}", "unknown area"),
        ("line", "#fff", "outline and box: an unknown instance"),
        ("corners", "#fff", "corners: the horizon window, seen at twice the detail"),
    ]
    if truth:
        entries.append(("line", "rgb(0, 230, 255)", "outline: a true anomaly"))
    return entries + [
        ("fill", f"rgb{color}", name) for name, color in zip(labels.names, labels.drawn_colors, strict=True)
    ]
