"""A few frames of the drive in rows: composed objects, the published anomaly map, the overlay."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.compose.clip import Clip, ping_pong
from m2a_core.files import read_json_lines
from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import draw_scores
from m2a_core.reporting.legend import legend_strip
from m2a_ros.bag.make import FIRST_STAMP_NS
from m2a_ros.demo.drive import CAMERA, Drive
from m2a_ros.review.layout import FRAMES, OUTPUT_BAG
from m2a_ros.review.overlays import overlays
from m2a_ros.review.results import frame_results

_ROWS = 5
_WIDTH = 480
_WHITE, _TRUTH = (255, 255, 255), (0, 230, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(drive: Drive, clip: Clip, labels: LabelSet) -> np.ndarray | None:
    """The sheet, uint8 [H, W, 3] RGB; None where nothing was answered.

    Args:
        drive: the replayed drive.
        clip: the clip that it plays.
        labels: classes of the model.

    Raises:
        DataError: the replay's results or the clip are damaged.
    """
    stamps = [frame["stamp_ns"] for frame in read_json_lines(drive.results / drive.source.name / FRAMES)]
    # Answers that show different frames of the clip, in the order of the clip.
    shown = {ping_pong(len(clip), _step(stamp, drive.rate)): number for number, stamp in enumerate(stamps)}
    if not shown:
        return None
    indices = sorted(shown)
    picked = [indices[round(k)] for k in np.linspace(0, len(indices) - 1, min(_ROWS, len(indices)))]
    numbers = {shown[index]: index for index in picked}
    bag = drive.results / drive.source.name / OUTPUT_BAG
    heats = {
        found.number: draw_scores(found.anomaly) for found in frame_results(bag, [CAMERA]) if found.number in numbers
    }
    wanted = {(CAMERA, number) for number in numbers}
    drawn = {
        number: picture[..., ::-1] for _, number, _, picture in overlays(drive.results, drive.source, wanted, labels)
    }
    rows = [_row(clip, index, heats[number], drawn[number]) for number, index in numbers.items()]
    sheet = np.vstack(rows)
    return np.vstack([sheet, legend_strip(labels, sheet.shape[1], _TRUTH)])


def _step(stamp_ns: int, rate: float) -> int:
    return round((stamp_ns - FIRST_STAMP_NS) * rate / 1e9)


def _row(clip: Clip, index: int, heated: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    marked = clip.image(index)
    truth = (clip.truth(index) == 1).astype(np.uint8)
    cv2.drawContours(marked, cv2.findContours(truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0], -1, _TRUTH, 3)
    tiles = (
        (marked, f"frame {index}: composed objects"),
        (heated, "published anomaly map: dark 0, bright 1"),
        (drawn, "open-set mask and unknown instances"),
    )
    return np.hstack([_tile(picture, text) for picture, text in tiles])


def _tile(picture: np.ndarray, text: str) -> np.ndarray:
    height = round(picture.shape[0] * _WIDTH / picture.shape[1])
    tile = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    cv2.rectangle(tile, (0, 0), (text_width + 12, 22), (40, 40, 40), cv2.FILLED)
    cv2.putText(tile, text, (6, 16), _FONT, 0.5, _WHITE, 1, cv2.LINE_AA)
    framed: np.ndarray = cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=_WHITE)
    return framed
