"""One bag's unknown objects: the frames of a replay, track by track."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_core.geometry.rectification import NotRectifiable, Rectifier
from m2a_core.harvest.bag_records import BagRecords
from m2a_core.harvest.sightings import Box, Crop, ObjectSightings, Place, box_of, cut
from m2a_core.stream.config import StreamConfig
from m2a_core.types import Frame
from m2a_ros.bag.calibration import BASE_FRAMES, Track, parse_mountings, read_projector, read_track
from m2a_ros.bag.cameras import CameraTopic, choose
from m2a_ros.bag.frames import load_frame
from m2a_ros.bag.reader import CAMERA_INFO, Bag, decode, quick_fingerprint
from m2a_ros.harvest.results import ReplayedBag, SeenFrame, seen_frames
from m2a_ros.parameters.file import settings_of
from m2a_ros.review.event_map import MAX_DISTANCE_M

ENDED_FRAMES = 300
"""A track that so many frames of its camera do not show has ended; its number may come back for another object."""


@dataclass
class _Camera:
    """A camera of the bag."""

    topic: CameraTopic
    config: StreamConfig
    rectifier: Rectifier = field(default_factory=Rectifier)
    projector: GroundProjector | str | None = None
    tracks: dict[int, ObjectSightings] = field(default_factory=dict)
    pixels: float | None = None
    """Of the image, a pixel of the maps; None before an image was decoded."""


def scan_bag(replayed: ReplayedBag, records: BagRecords, keep_frames: bool, progress: Callable[[int], object]) -> None:
    """Make the records of a bag.

    Args:
        replayed: the bag and its results.
        records: where they go.
        keep_frames: also keep the whole frame of each object's best picture.
        progress: told how many frames were looked at since the last call.

    Raises:
        DataError: a bag is damaged, has changed since, or is gone.
    """
    if not replayed.path.exists():
        raise DataError(
            f"bag {replayed.path}: is gone, and the pictures of its objects are in it; bring it back, or "
            f"replay it from where it is now ({replayed.results} has its results)"
        )
    if quick_fingerprint(replayed.path) != replayed.fingerprint:
        raise DataError(
            f"bag {replayed.path}: has changed since it was replayed into {replayed.results}; replay it again"
        )
    with Bag(replayed.path) as bag:
        used = choose(bag, replayed.topics).used
        names = [topic.camera for topic in used]
        settings = settings_of(replayed.parameters or {}, names, str(replayed.results))
        cameras = {topic.camera: _Camera(topic, settings.stream(topic.camera)) for topic in used}
        mountings = _mountings(replayed, cameras)
        track = read_track(bag)
        for seen in seen_frames(bag, used, replayed.results):
            camera = cameras[seen.result.camera]
            if camera.projector is None:
                size = (seen.result.instances.shape[1], seen.result.instances.shape[0])
                camera.projector = read_projector(
                    bag, camera.topic, seen.result.frame_id, size, mountings, camera.config.has_rectified_maps
                )
            _take_up(seen, camera, track, keep_frames)
            _end_old(seen, camera, records)
            progress(1)
        for name in sorted(cameras):
            for number in sorted(cameras[name].tracks):
                records.add(name, cameras[name].tracks[number])


def _mountings(replayed: ReplayedBag, cameras: Mapping[str, _Camera]) -> dict[str, Mounting]:
    """Where the cameras sit as far as the replay's parameters and ``--mounting`` say."""
    said = {name.split(".")[1] for name in replayed.parameters or {} if name.startswith("mounting.")}
    return {name: cameras[name].config.mounting for name in said if name in cameras} | parse_mountings(
        replayed.mountings
    )


def _take_up(seen: SeenFrame, camera: _Camera, track: Track | None, whole: bool) -> None:
    """Add a frame to the tracks that it shows."""
    result = seen.result
    picture = _Picture(seen, camera, whole)
    if camera.pixels is None:
        picture.decode()
    height, width = result.instances.shape
    for number in np.unique(result.instances[result.instances > 0]).tolist():
        mask = result.instances == number
        x0, y0, x1, y1 = box = box_of(mask)
        part = (slice(y0, y1), slice(x0, x1))
        score = float(result.anomaly[part][mask[part]].mean())
        known = camera.tracks.setdefault(number, ObjectSightings(number, result.stamp_ns))
        known.add(
            frame=result.number,
            stamp_ns=result.stamp_ns,
            score=score,
            area=round((camera.pixels or 1.0) * np.count_nonzero(mask[part])),
            place=_place(mask, box, camera.projector, track, result.recorded_ns),
            cut_off=x0 == 0 or y0 == 0 or x1 == width or y1 == height,
            crop=partial(picture.crop, mask),
        )


def _end_old(seen: SeenFrame, camera: _Camera, records: BagRecords) -> None:
    """Make records of tracks that ended: their pictures need not stay in memory."""
    ended = [n for n, known in camera.tracks.items() if seen.result.number - known.last_frame > ENDED_FRAMES]
    for number in ended:
        records.add(seen.result.camera, camera.tracks.pop(number))


class _Picture:
    """The image of a frame, decoded when the first crop of it is wanted."""

    def __init__(self, seen: SeenFrame, camera: _Camera, whole: bool) -> None:
        self._seen, self._camera, self._whole = seen, camera, whole
        self._image: np.ndarray | None = None
        self._tried = False

    def crop(self, mask: np.ndarray, quality: float) -> Crop | None:
        """An object cut out; None where the image cannot be decoded any more."""
        image = self.decode()
        if image is None:
            return None
        size = image.shape[:2]
        classes = self._seen.result.classes
        assert classes is not None
        if mask.shape != size:
            shape = (size[1], size[0])
            mask = cv2.resize(mask.astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST) > 0
            classes = cv2.resize(classes, shape, interpolation=cv2.INTER_NEAREST)
            if not mask.any():
                return None
        return cut(image, mask, classes, box_of(mask), quality, self._seen.result.stamp_ns, self._whole)

    def decode(self) -> np.ndarray | None:
        """uint8 [H, W, 3], RGB, rectified where the replay did; None where that cannot be done any more."""
        if not self._tried:
            self._tried = True
            content = load_frame(self._seen.message).content
            if isinstance(content, Frame):
                self._image = self._rectified(content.image)
                self._camera.pixels = content.image[..., 0].size / self._seen.result.instances.size
        return self._image

    def _rectified(self, image: np.ndarray) -> np.ndarray | None:
        if not self._camera.config.rectify:
            return image
        data = self._seen.message.camera_info
        try:
            return self._camera.rectifier.apply(image, decode(data, CAMERA_INFO) if data else None)
        except NotRectifiable:
            return None


def _place(
    mask: np.ndarray, box: Box, projector: GroundProjector | str | None, track: Track | None, recorded_ns: int
) -> Place | None:
    """Where an object stands: on the map where the bag tells where the car was, else in the vehicle's base frame."""
    row = box[3] - 1
    if not isinstance(projector, GroundProjector) or row == mask.shape[0] - 1:
        return None
    foot = np.array([[float(np.flatnonzero(mask[row]).mean()), row + 0.5]])
    point = projector.ground(foot)[0]
    distance = float(np.linalg.norm(point[:2]))
    if not np.isfinite(point).all() or distance > MAX_DISTANCE_M:
        return None
    here = track.at(recorded_ns) if track is not None else None
    if track is None or here is None or not np.isfinite(here[2]):
        return Place((float(point[0]), float(point[1]), float(point[2])), BASE_FRAMES[1], distance)
    x, y, yaw = here
    cos, sin = np.cos(yaw), np.sin(yaw)
    on_map = (float(x + cos * point[0] - sin * point[1]), float(y + sin * point[0] + cos * point[1]), float(point[2]))
    return Place(on_map, f"{track.kind}:{track.topic}", distance)
