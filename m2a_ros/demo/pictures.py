"""Overlay video and contact sheet, drawn after the live part from the maps that the node published."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2a_core.compose.clip import Clip
from m2a_core.errors import DataError
from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import draw_overlay
from m2a_core.types import OpenSetResult, UnknownInstance
from m2a_ros.demo.records import ANOMALY, INSTANCES, OPEN_SET

_VIDEO_RATE = 10.0
_SHEET_FRAMES = 5
_SHEET_WIDTH = 480
_WHITE, _GREEN = (255, 255, 255), (60, 255, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(image: np.ndarray, maps: dict[str, np.ndarray], labels: LabelSet) -> np.ndarray:
    """The open-set mask and the unknown instances over a frame.

    Args:
        image: uint8 [H, W, 3], RGB.
        maps: the node's outputs for this frame, by name.
        labels: classes of the model.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    ids, anomaly = maps.get(INSTANCES), maps.get(ANOMALY)
    instances = () if ids is None or anomaly is None else instances_of(ids, anomaly)
    return draw_overlay(image, OpenSetResult(open_set=maps.get(OPEN_SET), instances=instances), labels)


def instances_of(ids: np.ndarray, anomaly: np.ndarray) -> tuple[UnknownInstance, ...]:
    """Records of the instances in a published id map.

    Args:
        ids: uint16 [H, W], 0 none.
        anomaly: float32 [H, W]; an instance's score is its mean here.
    """
    instances = []
    for number in np.unique(ids[ids > 0]).tolist():
        mask = (ids == number).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        contour = max(contours, key=cv2.contourArea)[:, 0, :].astype(np.int32)
        bottom = y + height - 1
        contact = (float(np.flatnonzero(mask[bottom]).mean()), float(bottom))
        box = (x, y, x + width, y + height)
        instances.append(
            UnknownInstance(number, float(anomaly[mask > 0].mean()), int(mask.sum()), box, contour, contact)
        )
    return tuple(instances)


def heat(anomaly: np.ndarray) -> np.ndarray:
    """An anomaly map, float32 [H, W] in [0, 1], in colours: uint8 [H, W, 3], RGB."""
    levels = np.rint(255 * np.clip(anomaly, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def video_frame(image: np.ndarray, maps: dict[str, np.ndarray], labels: LabelSet) -> np.ndarray:
    """One frame of the video: the overlay, with the anomaly map in its upper left corner.

    Args:
        image: uint8 [H, W, 3], RGB.
        maps: the node's outputs for this frame, by name.
        labels: classes of the model.
    """
    canvas = overlay(image, maps, labels)
    if ANOMALY in maps:
        height, width = canvas.shape[0] // 4, canvas.shape[1] // 4
        small = cv2.resize(heat(maps[ANOMALY]), (width, height), interpolation=cv2.INTER_AREA)
        canvas[8 : 8 + height, 8 : 8 + width] = small
        cv2.rectangle(canvas, (7, 7), (8 + width, 8 + height), _WHITE, 1)
    return canvas


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    """Write frames forth and back as MP4 (MPEG-4 Part 2, which every OpenCV build can write).

    Args:
        path: file to write.
        frames: uint8 [H, W, 3], RGB, all of one size; at least one.

    Raises:
        DataError: OpenCV cannot write it, or cannot read as many frames back.
    """
    size = (frames[0].shape[1], frames[0].shape[0])
    sequence = [*frames, *frames[-2:0:-1]]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _VIDEO_RATE, size)
    for frame in sequence:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    reader = cv2.VideoCapture(str(path))
    count = 0
    while reader.grab():
        count += 1
    reader.release()
    if count != len(sequence):
        raise DataError(f"{path}: wrote {len(sequence)} frames, {count} can be read back; check the disk and OpenCV")


def contact_sheet(clip: Clip, maps: dict[int, dict[str, np.ndarray]], labels: LabelSet) -> np.ndarray:
    """A few frames in rows: the frame with its composed objects outlined, the anomaly map, the overlay.

    Args:
        clip: the clip.
        maps: the node's outputs by clip frame; at least one with an anomaly map.
        labels: classes of the model.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    frames = [i for i in sorted(maps) if ANOMALY in maps[i]]
    picked = [frames[round(k)] for k in np.linspace(0, len(frames) - 1, min(_SHEET_FRAMES, len(frames)))]
    rows = []
    for i in picked:
        marked = clip.image(i)
        outlines, _ = cv2.findContours(
            (clip.truth(i) == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(marked, outlines, -1, _GREEN, 3)
        tiles = [
            (marked, f"frame {i}: composed objects"),
            (heat(maps[i][ANOMALY]), "published anomaly map"),
            (overlay(clip.image(i), maps[i], labels), "open-set mask and unknown instances"),
        ]
        rows.append(np.hstack([_tile(picture, text) for picture, text in tiles]))
    return np.vstack(rows)


def _tile(picture: np.ndarray, text: str) -> np.ndarray:
    height = round(picture.shape[0] * _SHEET_WIDTH / picture.shape[1])
    tile = cv2.resize(picture, (_SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    cv2.rectangle(tile, (0, 0), (text_width + 12, 22), (40, 40, 40), cv2.FILLED)
    cv2.putText(tile, text, (6, 16), _FONT, 0.5, _WHITE, 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=_WHITE)
