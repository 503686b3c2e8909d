"""What was published for one frame, in every mode of replay: the arrays, their hash, the record of the frame."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import draw_overlay, shrink
from m2a_core.stream.camera_stream import Detections, StreamResult
from m2a_core.types import OpenSetResult
from m2a_ros.bag.frames import Loaded
from m2a_ros.images.conversions import fill_jpeg
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.parameters.settings import Settings


@dataclass(frozen=True)
class PublishedFrame:
    """The outputs for one image.

    Attributes:
        camera: name of the camera.
        recorded_ns: when the image was recorded, nanoseconds.
        stamp_ns: its stamp, nanoseconds.
        frame_id: of its header.
        arrays: the published maps [H, W] by topic name, in the order of ``MAPS``.
        overlay: the published overlay, a JPEG stream, or None where it was not asked for.
        latencies_ms: milliseconds by stage.
        detections: in mode offline, what the tracker was given, for a replay that goes on here.
        restamped: whether the image's stamp was zero; ``stamp_ns`` then is the time of recording.
        oddity: what is wrong with the image's stream although it was decoded, as in ``decoding.Decoded``.
        degraded: in mode offline, what is wrong with the image or the network's answer, as in ``StreamResult``.
    """

    camera: str
    recorded_ns: int
    stamp_ns: int
    frame_id: str
    arrays: Mapping[str, np.ndarray]
    overlay: np.ndarray | None
    latencies_ms: Mapping[str, float]
    detections: Detections | None = None
    restamped: bool = False
    oddity: str | None = None
    degraded: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """``WIDTHxHEIGHT``."""
        height, width = self.arrays[MAPS[0].topic].shape
        return f"{width}x{height}"

    def record(self) -> dict[str, Any]:
        """The frame's line in ``frames.jsonl``."""
        numbers = self.arrays["unknown_instances"]
        return {
            "stamp_ns": self.stamp_ns,
            "frame_id": self.frame_id,
            "camera": self.camera,
            "hash": hash_arrays(self.arrays),
            "latencies_ms": {stage: round(value, 3) for stage, value in self.latencies_ms.items()},
            # Every instance has a pixel of its own.
            "unknown_instances": len(np.unique(numbers[numbers > 0])),
            **({"stamp_was_zero": True} if self.restamped else {}),
            **({"oddity": self.oddity} if self.oddity else {}),
            **({"degraded": list(self.degraded)} if self.degraded else {}),
        }


def published_arrays(result: OpenSetResult) -> dict[str, np.ndarray]:
    """The arrays of one frame as the node publishes them, by topic name."""
    return {spec.topic: spec.convert(getattr(result, spec.output.value)) for spec in MAPS}


def published_frame(loaded: Loaded, result: StreamResult, labels: LabelSet, settings: Settings) -> PublishedFrame:
    """The frame that the node would publish for a result.

    Args:
        loaded: the image message.
        result: what the camera's stream says of its frame.
        labels: the classes of the model.
        settings: the node's parameters.
    """
    jpeg = SimpleNamespace(data=array("B"))
    shown = shrink(result.frame.image, result.result, settings.overlay_width)
    fill_jpeg(jpeg, draw_overlay(*shown, labels), settings.overlay_quality)
    return PublishedFrame(
        camera=loaded.recorded.camera,
        recorded_ns=loaded.recorded.recorded_ns,
        stamp_ns=result.frame.stamp_ns,
        frame_id=result.frame.frame_id,
        arrays=published_arrays(result.result),
        overlay=np.frombuffer(jpeg.data, np.uint8),
        latencies_ms={"decode": loaded.decode_ms, **result.result.timings_ms},
        detections=result.detections,
        restamped=loaded.recorded.restamped,
        oddity=loaded.oddity,
        degraded=result.degraded,
    )


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256, hex, over name, dtype, shape and little-endian bytes of the published arrays."""
    digest = hashlib.sha256()
    for name, values in arrays.items():
        little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        digest.update(f"{name} {little.dtype.str} {list(little.shape)}\n".encode())
        digest.update(little.data.cast("B"))
    return digest.hexdigest()
