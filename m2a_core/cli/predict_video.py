"""``m2a predict`` on a video file, a camera or a stream: an overlay video, and a line of JSON per frame."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2a_core.cli.given_options import refuse
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import json_text
from m2a_core.geometry.calibration_file import parse_mounting, read_calibration
from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import OVERLAY_WIDTH, draw_overlay, shrink
from m2a_core.reporting.film import SUFFIX, Film
from m2a_core.stream.camera_stream import CameraStream, StreamResult
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.sensors import Sensors
from m2a_core.stream.video_source import VideoSource, shown_source
from m2a_core.types import Frame, Output

if TYPE_CHECKING:
    from m2a_core.perception import Perception

_WANTED = frozenset({Output.OPEN_SET, Output.UNKNOWN_INSTANCES})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that only videos have."""
    video = parser.add_argument_group("videos, cameras and streams")
    video.add_argument("--frames", type=int, metavar="N", help="stop after N frames (default: all, or until Ctrl-C)")
    video.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="YAML of ROS's camera_calibration: unknown objects get a place in metres",
    )
    video.add_argument(
        "--mounting",
        metavar="height=M[,pitch=RAD]",
        help="where the camera sits (default: 1.5 m above the road, level)",
    )
    video.add_argument("--rectify", action="store_true", help="undistort images by --calibration")
    video.add_argument("--crop", action="store_true", help="the network sees the largest part that has its aspect")


def check_arguments(args: argparse.Namespace, has_videos: bool) -> None:
    """Refuse what does not fit.

    Raises:
        ConfigError: an option needs another one or a video, or is out of range.
    """
    if not has_videos:
        refuse(
            args,
            ("frames", "calibration", "mounting", "rectify", "crop"),
            "only for a video file, a camera index or a stream URL",
        )
    if has_videos and (args.checkpoint is not None or args.raw):
        raise ConfigError("--checkpoint and --raw are for images; a video needs a bundle (m2a export makes one)")
    if has_videos and args.format:
        raise ConfigError("--format: for images; a video gives .jsonl and an overlay video")
    if args.frames is not None and args.frames < 1:
        raise ConfigError(f"--frames {args.frames}: expected at least 1")
    if args.calibration is None and (args.rectify or args.mounting):
        raise ConfigError("--rectify and --mounting need --calibration FILE, which says what the camera's pixels mean")


def predict_video(argument: str, perception: Perception, args: argparse.Namespace) -> None:
    """Predict one source; leaves ``NAME.jsonl`` and ``NAME_overlay.webm`` in ``--out``.

    Raises:
        DataError: the source cannot be opened or holds no frame, or a file cannot be written.
    """
    from m2a_core.progress import ProgressBar

    info = None if args.calibration is None else read_calibration(args.calibration)
    mounting = parse_mounting(args.mounting) if args.mounting else StreamConfig().mounting
    config = StreamConfig(rectify=args.rectify, crop=args.crop, mounting=mounting)
    stream = CameraStream()
    with VideoSource(argument) as source:
        records = args.out / f"{source.name}.jsonl"
        frames: Iterator[Frame] = islice(source.frames(), args.frames)
        total = args.frames if source.count is None else min(source.count, args.frames or source.count)
        overlay = Film(args.out / f"{source.name}_overlay{SUFFIX}", source.rate, perception.labels, OVERLAY_WIDTH)
        count, short = 0, ""
        try:
            with records.open("w", encoding="utf-8") as lines, ProgressBar(total=total, unit="frame") as bar:
                for count, frame in enumerate(frames, start=1):
                    result = stream.process(frame, Sensors(info), _WANTED, perception, config)
                    lines.write(json_text(_record(count - 1, result)) + "\n")
                    overlay.add(_draw(result, perception.labels))
                    bar.update(1)
            # Containers state durations: the count from them may be off by one.
            if source.count is not None and count + 1 < min(source.count, args.frames or source.count):
                short = f", where it states {source.count} (is it cut short?)"
        except OSError as error:
            raise DataError(f"{records}: cannot write ({error.strerror})") from error
        except KeyboardInterrupt:
            # A camera has no end of its own: what was seen so far is the result.
            print(f"m2a: stopped after {count} frames", file=sys.stderr)
        finally:
            overlay.finish()
        late = f", {source.dropped} dropped because newer ones arrived" if source.dropped else ""
    print(f"{count} frames of {shown_source(argument)}{late}{short}: {records}, {overlay.path}")


def _draw(result: StreamResult, labels: LabelSet) -> np.ndarray:
    """The overlay, uint8 [h, w, 3] BGR."""
    overlay = draw_overlay(*shrink(result.frame.image, result.result, OVERLAY_WIDTH), labels)
    return np.ascontiguousarray(overlay[..., ::-1])


def _record(number: int, result: StreamResult) -> dict[str, Any]:
    objects = []
    for item in result.objects:
        place = item.location
        objects.append(
            {
                "id": item.instance.id,
                "score": round(item.instance.score, 4),
                "bbox": list(item.instance.bbox),
                "area": item.instance.area,
                "position_m": None if place is None else [round(float(v), 3) for v in place.position],
                "distance_m": None if place is None else round(place.distance, 3),
            }
        )
    return {"frame": number, "stamp_ns": result.frame.stamp_ns, "objects": objects}
