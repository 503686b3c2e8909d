"""What a replay left: its bags, and the maps of each frame that shows unknown objects, with the frame's image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.errors import MALFORMED, DataError, shown
from m2a_core.files import plain_name, read_json
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import Recorded, image_messages
from m2a_ros.bag.locations import path_of
from m2a_ros.bag.reader import Bag
from m2a_ros.review.layout import OUTPUT_BAG, RUN
from m2a_ros.review.results import FrameResult, frame_results

SUMMARY = "summary.json"
_WITHOUT_MAPS = "peak"
_SETTINGS = ("mode", "thresholds", "temporal", "mountings")
_OF_THE_MACHINE = ("model", "backend", "threads", "device")
_MAX_WAITING = 256
"""Images that may wait for their result: cameras of one bag are recorded close to each other."""


@dataclass(frozen=True)
class ReplayedBag:
    """One bag of a finished replay.

    Attributes:
        name: of its folder of results.
        path: the bag that was replayed.
        results: its folder of results.
        fingerprint: what tells the bag from others; see ``quick_fingerprint``.
        topics: topic -> camera, those that were evaluated.
        model: name and ``onnx_sha256`` of the model.
        model_path: folder of the model's bundle; None where the replay does not tell.
        parameters: the node's parameters of the replay; None where images were evaluated as recorded.
        mountings: see ``ReviewRequest.mountings``.
        settings: what else the results depend on, as JSON.
    """

    name: str
    path: Path
    results: Path
    fingerprint: str
    topics: Mapping[str, str]
    model: Mapping[str, str]
    model_path: Path | None
    parameters: Mapping[str, Any] | None
    mountings: tuple[str, ...]
    settings: str

    @property
    def identity(self) -> str:
        """SHA-256, hex, of all that the results of this bag depend on but the machine and the bag's place."""
        text = "\0".join([self.fingerprint, self.model["onnx_sha256"], self.settings])
        return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


@dataclass(frozen=True)
class SeenFrame:
    """A frame's results with its image, as it was recorded.

    Attributes:
        result: the published maps.
        message: the image message.
    """

    result: FrameResult
    message: Recorded


def is_replay(folder: Path) -> bool:
    """Whether a folder is that of a replay, finished or not."""
    return (folder / RUN).is_file()


def replayed_bags(folder: Path) -> list[ReplayedBag]:
    """The bags of a replay; those that it could not evaluate are left out.

    Raises:
        DataError: the replay is not finished, kept no maps, or evaluated no bag.
    """
    summary_file = folder / SUMMARY
    if not summary_file.is_file():
        raise DataError(f"{folder}: the replay is not finished; call m2a replay again with the same arguments")
    summary = read_json(summary_file)
    try:
        if summary["mode"] == _WITHOUT_MAPS:
            raise DataError(f"{folder}: a replay of mode {_WITHOUT_MAPS} keeps no maps; replay in mode offline")
        bags = [
            ReplayedBag(
                name=bag["name"],
                path=path_of(bag["path"]),
                results=folder / plain_name(bag["name"], summary_file),
                fingerprint=str(bag["fingerprint"]),
                topics=dict(bag["topics"]),
                model={key: str(summary["model"][key]) for key in ("name", "onnx_sha256")},
                model_path=Path(summary["model_path"]) if summary.get("model_path") else None,
                parameters=summary["parameters"],
                mountings=tuple(summary["mountings"]),
                settings=_settings(summary),
            )
            for bag in summary["bags"]
        ]
    except MALFORMED as error:
        raise DataError(f"{summary_file}: no summary of a replay ({shown(error)}); replay again") from error
    for bag in bags:
        if not (bag.results / OUTPUT_BAG).exists():
            raise DataError(f"{bag.results}: the bag of results is gone ({OUTPUT_BAG}); replay {bag.path} again")
    if not bags:
        raise DataError(f"{folder}: the replay evaluated no bag, so there are no results")
    return bags


def _settings(summary: Mapping[str, Any]) -> str:
    """What the results depend on beside bag and model, as JSON; where the model lies and who ran it is none of it."""
    own = {name: value for name, value in (summary["parameters"] or {}).items() if name not in _OF_THE_MACHINE}
    return json.dumps([own, *(summary[key] for key in _SETTINGS)], sort_keys=True)


def seen_frames(bag: Bag, cameras: tuple[CameraTopic, ...], results: Path) -> Iterator[SeenFrame]:
    """Frames that show unknown objects, in order, with their images; no other image is decoded.

    Args:
        bag: the bag that was replayed, open.
        cameras: its topics that were evaluated.
        results: its folder of results.

    Raises:
        DataError: a bag is damaged, or an image is not in the bag any more.
    """
    images = image_messages(bag, cameras, calibrated=True)
    waiting: dict[tuple[str, int], list[Recorded]] = {}
    for result in frame_results(results / OUTPUT_BAG, [camera.camera for camera in cameras], classes=True):
        key = (result.camera, result.recorded_ns)
        while key not in waiting:
            message = next(images, None)
            if message is None:
                raise DataError(
                    f"bag {bag.path}: the image of {result.camera} recorded at {result.recorded_ns} ns is not in it, "
                    f"but {results} has its result; replay the bag again"
                )
            waiting.setdefault((message.camera, message.recorded_ns), []).append(message)
            if len(waiting) > _MAX_WAITING:
                # An image without a result: it could not be evaluated.
                del waiting[next(iter(waiting))]
        message = waiting[key].pop(0)
        if not waiting[key]:
            del waiting[key]
        if np.any(result.instances):
            yield SeenFrame(result, message)
