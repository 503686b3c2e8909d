"""Moments of a replay as pictures and short films, out of its overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.metrics.pixel import ANOMALY
from m2a_core.reporting.film import SUFFIX, WIDTH, Film, frame_rate
from m2a_ros.review.events import Times
from m2a_ros.review.layout import film_path
from m2a_ros.review.overlays import overlays
from m2a_ros.review.request import Source
from m2a_ros.review.truth import GroundTruth

AROUND_S = 1.5
"""Seconds of a film before and after its moment."""

_MAX_FRAMES = 36
_JPEG_QUALITY = 80
_TRUTH_BGR = (255, 230, 0)


@dataclass(frozen=True)
class Moment:
    """A frame to show, with what is around it.

    Attributes:
        bag: name of the bag.
        camera: name of the camera.
        number: of the camera's frame, from 0.
        name: file name of its clip, without suffix; unique in the bag.
        filmed: whether to make a film, and not a picture only.
    """

    bag: str
    camera: str
    number: int
    name: str
    filmed: bool = True


@dataclass(frozen=True)
class Shot:
    """A moment's files.

    Attributes:
        moment: the moment.
        stamp_ns: stamp of its frame.
        picture: JPEG of its frame, ``WIDTH`` pixels wide at most.
        film: WebM, or None.
    """

    moment: Moment
    stamp_ns: int
    picture: bytes
    film: Path | None


def shoot(
    out: Path, source: Source, times: Times, moments: Sequence[Moment], truth: GroundTruth | None, labels: LabelSet
) -> list[Shot]:
    """Make the pictures and ``out/BAG/clips/NAME.webm`` of a bag's moments, truth outlined where there is any.

    Raises:
        DataError: a bag is damaged or a film cannot be written.
        OSError: the folder cannot be made.
    """
    wanted: dict[tuple[str, int], list[Moment]] = {}
    for moment in moments:
        for number in _around(times, moment) if moment.filmed else [moment.number]:
            wanted.setdefault((moment.camera, number), []).append(moment)
    films: dict[str, Film] = {}
    stills: dict[str, tuple[int, bytes]] = {}
    folder = out / source.name / "clips"
    for camera, number, stamp, picture in overlays(out, source, wanted, labels):
        marked = _marked(picture, None if truth is None else truth.read(source.name, camera, stamp))
        for moment in wanted[camera, number]:
            if moment.filmed:
                if moment.name not in films:
                    films[moment.name] = Film(folder / f"{moment.name}{SUFFIX}", frame_rate(times.of(camera)))
                films[moment.name].add(marked)
            if number == moment.number:
                jpeg = cv2.imencode(".jpg", marked, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
                stills[moment.name] = (stamp, jpeg.tobytes())
    for film in films.values():
        film.finish()
    return [
        Shot(moment, *stills[moment.name], folder / f"{moment.name}{SUFFIX}" if _moves(films, moment) else None)
        for moment in moments
        if moment.name in stills
    ]


def write_films(out: Path, source: Source, times: Times, labels: LabelSet) -> None:
    """Make ``out/BAG/overlay_CAMERA.webm`` of the cameras that have none: modes that publish no overlays.

    Raises:
        DataError: a bag is damaged or a film cannot be written.
    """
    cameras = dict.fromkeys(camera for camera, _ in times.seconds)
    films = {
        camera: Film(path, frame_rate(times.of(camera)), labels)
        for camera in cameras
        if not (path := film_path(out / source.name, camera)).is_file()
    }
    wanted = {key for key in times.seconds if key[0] in films}
    for camera, _, _, picture in overlays(out, source, wanted, labels) if wanted else ():
        films[camera].add(picture)
    for film in films.values():
        film.finish()


def _moves(films: Mapping[str, Film], moment: Moment) -> bool:
    return moment.name in films and films[moment.name].count > 1


def _around(times: Times, moment: Moment) -> list[int]:
    """Frames of the camera within ``AROUND_S`` of the moment."""
    center = times.seconds[moment.camera, moment.number]
    near = range(moment.number - _MAX_FRAMES // 2, moment.number + _MAX_FRAMES // 2 + 1)
    at = {number: times.seconds.get((moment.camera, number)) for number in near}
    return [number for number, seconds in at.items() if seconds is not None and abs(seconds - center) <= AROUND_S]


def _marked(picture: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The overlay, uint8 [h, w, 3] BGR, scaled down, with the true anomalies outlined in cyan."""
    scale = min(1.0, WIDTH / picture.shape[1])
    size = tuple(max(2, round(length * scale) & ~1) for length in (picture.shape[1], picture.shape[0]))
    small: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if labels is not None:
        shrunk = cv2.resize((labels == ANOMALY).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
        outlines = cv2.findContours(shrunk, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        cv2.drawContours(small, outlines, -1, _TRUTH_BGR, 1)
    return small
