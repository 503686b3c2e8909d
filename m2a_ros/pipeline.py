"""What happens to one camera's frame on the worker thread: decode, infer, convert, publish."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from m2a_core.errors import DataError, InferenceError
from m2a_core.openset.tracking import Tracker
from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult, UnknownInstance
from m2a_ros.camera_input import CameraInput
from m2a_ros.conversions import compressed_to_rgb, image_to_rgb
from m2a_ros.encodings import ImageError
from m2a_ros.frame_slot import Arrival
from m2a_ros.markers import MarkerBuilder, PlacedInstance, place
from m2a_ros.parameters import Settings
from m2a_ros.projection import GroundProjector, Intrinsics
from m2a_ros.publishers import CameraOutputs
from m2a_ros.rate_limiter import RateLimiter
from m2a_ros.statistics import CameraStatistics

NO_SUBSCRIBER = "no_subscriber"
RATE_LIMIT = "rate_limit"
BAD_FRAME_PREFIX = "bad_image."
INFERENCE_ERROR = "inference_error"
_WARNING_PERIOD_S = 5.0


@dataclass(frozen=True)
class Tuning:
    """What may change between two frames.

    Attributes:
        perception: the model with its thresholds.
        settings: the node's parameters.
    """

    perception: Perception
    settings: Settings


class CameraPipeline:
    """Processes the frames of one camera."""

    def __init__(self, node: Node, camera: str, tuning: Tuning, statistics: CameraStatistics) -> None:
        """Create the camera's publishers.

        Args:
            node: the node to publish and log with.
            camera: name of the camera.
            tuning: the model and the parameters.
            statistics: where frames are counted.
        """
        settings, manifest = tuning.settings, tuning.perception.manifest
        self.outputs = CameraOutputs(node, camera, manifest.labels, manifest.thresholds.anomaly)
        self._node = node
        self._camera = camera
        self._statistics = statistics
        self._markers = MarkerBuilder(camera, settings.base_frame, settings.marker_lifetime)
        self._tracker = Tracker()
        self._limiter = RateLimiter()
        self._last_published: float | None = None

    def process(self, arrival: Arrival, tuning: Tuning, camera: CameraInput) -> None:
        """Process one message; a bad one is counted and reported, and nothing is published for it."""
        wanted = self.outputs.wanted()
        if not wanted:
            self._statistics.dropped(NO_SUBSCRIBER)
            return
        if not self._limiter.accepts(arrival.received, tuning.settings.max_rate):
            self._statistics.dropped(RATE_LIMIT)
            return
        start = time.perf_counter()
        try:
            frame = self._decode(arrival)
            decoded = time.perf_counter()
            result = tuning.perception.infer(frame, wanted)
        except ImageError as error:
            self._report(BAD_FRAME_PREFIX + error.reason, error)
            return
        except InferenceError as error:
            self._report(INFERENCE_ERROR, error)
            return
        timings = {"decode": 1e3 * (decoded - start), **result.timings_ms}
        self._publish(arrival.message.header, frame.image, result, tuning, camera.camera_info)
        self._finish(arrival.message.header, timings, start)

    def clear_markers(self) -> None:
        """Delete the markers that are shown."""
        stamp = self._node.get_clock().now().to_msg()
        self.outputs.publish_markers(self._markers.build(stamp, {}))

    def _decode(self, arrival: Arrival) -> Frame:
        message, header = arrival.message, arrival.message.header
        image = compressed_to_rgb(message) if isinstance(message, CompressedImage) else image_to_rgb(message)
        return Frame(image, Time.from_msg(header.stamp).nanoseconds, header.frame_id, arrival.camera)

    def _publish(
        self, header: Header, image: np.ndarray, result: OpenSetResult, tuning: Tuning, info: CameraInfo | None
    ) -> None:
        self.outputs.publish_maps(header, result)
        if self.outputs.wants_markers() and result.unknown_instances is not None:
            placed = self._place(result, tuning, info, (image.shape[1], image.shape[0]))
            stamp_ns = Time.from_msg(header.stamp).nanoseconds
            tracked = self._track(stamp_ns, result.instances, placed, tuning.settings)
            self.outputs.publish_markers(self._markers.build(header.stamp, tracked))
        self.outputs.publish_overlay(header, image, result)

    def _place(
        self, result: OpenSetResult, tuning: Tuning, info: CameraInfo | None, size: tuple[int, int]
    ) -> list[PlacedInstance | None]:
        """The place of each instance; None for one that has none."""
        nowhere: list[PlacedInstance | None] = [None] * len(result.instances)
        if info is None:
            self._statistics.without_markers("no_camera_info")
            return nowhere
        try:
            intrinsics = Intrinsics.from_camera_info(info).fitted(size)
        except DataError as error:
            self._statistics.without_markers("bad_camera_info")
            self._warn(error)
            return nowhere
        if intrinsics is None:
            self._statistics.without_markers("camera_info_of_other_aspect")
            return nowhere
        projector = GroundProjector(intrinsics, tuning.settings.mounting[self._camera])
        rows, columns = tuning.perception.manifest.input_size
        # Outlines are known to a pixel of the network's input, then to one of the image.
        error_px = 0.5 + 0.5 * max(size[0] / columns, size[1] / rows)
        limit = tuning.settings.marker_distance
        return [place(instance, projector, limit, error_px) for instance in result.instances]

    def _track(
        self,
        stamp_ns: int,
        instances: tuple[UnknownInstance, ...],
        placed: list[PlacedInstance | None],
        settings: Settings,
    ) -> dict[int, PlacedInstance]:
        """The instances that have both a place and a confirmed track, by the track's id."""
        ground = np.array([(np.nan, np.nan) if item is None else item.position[:2] for item in placed])
        ids = self._tracker.update(stamp_ns, instances, ground, settings.tracking)
        pairs = zip(ids, placed, strict=True)
        return {number: item for number, item in pairs if number is not None and item is not None}

    def _finish(self, header: Header, timings: dict[str, float], start: float) -> None:
        now = time.perf_counter()
        latency = self._node.get_clock().now() - Time.from_msg(header.stamp, self._node.get_clock().clock_type)
        topics = {"processing_time_ms": 1e3 * (now - start), "pipeline_latency_ms": latency.nanoseconds / 1e6}
        if self._last_published is not None:
            topics["cyclic_time_ms"] = 1e3 * (now - self._last_published)
        self._last_published = now
        self.outputs.publish_timings(topics)
        self._statistics.published({**{f"{stage}_ms": value for stage, value in timings.items()}, **topics})

    def _report(self, reason: str, error: DataError | InferenceError) -> None:
        self._statistics.dropped(reason, str(error))
        self._warn(error)

    def _warn(self, error: Exception) -> None:
        self._node.get_logger().warning(f"camera '{self._camera}': {error}", throttle_duration_sec=_WARNING_PERIOD_S)
