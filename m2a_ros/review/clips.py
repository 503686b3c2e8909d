"""Moments of a replay as pictures and short films, out of the overlays that it published."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.metrics.pixel import ANOMALY
from m2a_ros.review.frame_rate import frame_rate
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.request import Source
from m2a_ros.review.results import overlays
from m2a_ros.review.truth import GroundTruth

AROUND_S = 1.5
"""Seconds of a film before and after its moment."""

WIDTH = 480
_MAX_FRAMES = 36
_JPEG_QUALITY = 80
_TRUTH_BGR = (255, 230, 0)


@dataclass(frozen=True)
class Moment:
    """A frame to show, with what is around it.

    Attributes:
        bag: name of the bag.
        camera: name of the camera.
        stamp_ns: stamp of the frame.
        name: file name of its clip, without suffix; unique in the bag.
        filmed: whether to make a film, and not a picture only.
    """

    bag: str
    camera: str
    stamp_ns: int
    name: str
    filmed: bool = True


@dataclass(frozen=True)
class Shot:
    """A moment's files.

    Attributes:
        moment: the moment.
        recorded_ns: when its frame was recorded.
        picture: JPEG of its frame, ``WIDTH`` pixels wide at most.
        film: WebM (VP8, which browsers play), or None.
    """

    moment: Moment
    recorded_ns: int
    picture: bytes
    film: Path | None


def shoot(out: Path, source: Source, moments: Sequence[Moment], truth: GroundTruth | None) -> list[Shot]:
    """Make the pictures and ``out/BAG/clips/NAME.webm`` of a bag's moments, truth outlined where there is any.

    Raises:
        DataError: the output bag is damaged or a film cannot be written.
        OSError: the folder cannot be made.
    """
    bag = out / source.name / OUTPUT_BAG
    cameras = sorted({moment.camera for moment in moments})
    frames: dict[str, list[tuple[int, int]]] = {camera: [] for camera in cameras}
    for camera, stamp, recorded, _ in overlays(bag, cameras):
        frames[camera].append((stamp, recorded))
    wanted: dict[tuple[str, int], list[int]] = {}
    centers: dict[int, int] = {}
    for number, moment in enumerate(moments):
        stamps = [stamp for stamp, _ in frames[moment.camera]]
        if moment.stamp_ns not in stamps:
            continue
        center = centers[number] = stamps.index(moment.stamp_ns)
        for index in _around(frames[moment.camera], center) if moment.filmed else [center]:
            wanted.setdefault((moment.camera, index), []).append(number)
    pictures: dict[int, list[np.ndarray]] = {number: [] for number in centers}
    stills: dict[int, bytes] = {}
    counts = dict.fromkeys(cameras, -1)
    for camera, stamp, _, jpeg in overlays(bag, cameras):
        counts[camera] += 1
        numbers = wanted.get((camera, counts[camera]), [])
        if numbers:
            picture = _picture(jpeg, None if truth is None else truth.read(source.name, camera, stamp))
            for number in numbers:
                pictures[number].append(picture)
                if counts[camera] == centers[number]:
                    stills[number] = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[
                        1
                    ].tobytes()
    shots = []
    for number, center in centers.items():
        moment = moments[number]
        film = None
        if moment.filmed and len(pictures[number]) > 1:
            film = out / source.name / "clips" / f"{moment.name}.webm"
            _film(film, pictures[number], frame_rate([stamp for stamp, _ in frames[moment.camera]]))
        shots.append(Shot(moment, frames[moment.camera][center][1], stills[number], film))
    return shots


def _around(frames: Sequence[tuple[int, int]], center: int) -> range:
    """Frames within ``AROUND_S`` of the one at ``center``, by time of recording."""
    first = last = center
    while first > 0 and frames[center][1] - frames[first - 1][1] <= AROUND_S * 1e9:
        first -= 1
    while last + 1 < len(frames) and frames[last + 1][1] - frames[center][1] <= AROUND_S * 1e9:
        last += 1
    return range(max(first, center - _MAX_FRAMES // 2), min(last, center + _MAX_FRAMES // 2) + 1)


def _picture(jpeg: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The overlay, uint8 [h, w, 3] BGR, scaled down, with the true anomalies outlined in cyan."""
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    scale = min(1.0, WIDTH / picture.shape[1])
    size = tuple(max(2, round(length * scale) & ~1) for length in (picture.shape[1], picture.shape[0]))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if labels is not None:
        shrunk = cv2.resize((labels == ANOMALY).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
        outlines = cv2.findContours(shrunk, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        cv2.drawContours(small, outlines, -1, _TRUTH_BGR, 1)
    return small


def _film(path: Path, pictures: Sequence[np.ndarray], rate: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with _quiet():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), rate, (width, height))
    if not writer.isOpened():
        raise DataError(f"{path}: OpenCV cannot write a VP8 film of {width}x{height} there")
    for picture in pictures:
        writer.write(picture if picture.shape[:2] == (height, width) else cv2.resize(picture, (width, height)))
    writer.release()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV's notice that WebM has no code for VP8 off the terminal: it writes the film all the same."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
