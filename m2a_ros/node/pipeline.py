"""What happens to one camera's frame on the worker thread: decode, infer, convert, publish."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from m2a_core.errors import DataError, InferenceError
from m2a_core.geometry.crop import crop_to_aspect, place_back
from m2a_core.geometry.depth import DepthBuffer
from m2a_core.geometry.rectification import NotRectifiable, Rectifier, rectified_info
from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult, Output
from m2a_ros.camera.extrinsics import Extrinsics
from m2a_ros.camera.frame_slot import Arrival
from m2a_ros.camera.rate_limiter import RateLimiter
from m2a_ros.camera.stamps import age_ms, stamp_to_ns
from m2a_ros.camera.subscriptions import CameraInput
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError
from m2a_ros.node.camera_log import CameraLog
from m2a_ros.node.unknown_objects import Scene, UnknownObjects
from m2a_ros.outputs.publishers import CameraOutputs
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.statistics import CameraStatistics

NO_SUBSCRIBER = "no_subscriber"
RATE_LIMIT = "rate_limit"
BAD_FRAME_PREFIX = "bad_image."
NOT_RECTIFIED_PREFIX = "not_rectified."
INFERENCE_ERROR = "inference_error"


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

    def __init__(
        self, node: Node, camera: str, tuning: Tuning, statistics: CameraStatistics, extrinsics: Extrinsics
    ) -> None:
        """Create the camera's publishers.

        Args:
            node: the node to publish and log with.
            camera: name of the camera.
            tuning: the model and the parameters.
            statistics: where frames are counted.
            extrinsics: says where the camera is.
        """
        settings, manifest = tuning.settings, tuning.perception.manifest
        self.outputs = CameraOutputs(
            node, camera, manifest.labels, manifest.thresholds.anomaly, statistics.qos_mismatch
        )
        self._node = node
        self._camera = camera
        self._statistics = statistics
        self._objects = UnknownObjects(node, camera, self.outputs, statistics, extrinsics, settings)
        self._log = CameraLog(node, camera)
        self._limiter = RateLimiter()
        self._rectifier = Rectifier()
        self._last_published: float | None = None

    def process(self, arrival: Arrival, tuning: Tuning, camera: CameraInput) -> None:
        """Process one message; a bad one is counted and reported, and nothing is published for it."""
        wanted = self.outputs.wanted()
        if not wanted:
            self._statistics.dropped(NO_SUBSCRIBER)
            return
        if not self._limiter.accepts(arrival.received, tuning.settings.camera[self._camera].max_rate):
            self._statistics.dropped(RATE_LIMIT)
            return
        start = time.perf_counter()
        try:
            frame = self._decode(arrival, tuning.settings.max_image_pixels)
            info, depth = camera.camera_info, camera.depth
            if tuning.settings.camera[self._camera].rectify:
                frame, info = self._rectify(frame, info)
                # Nobody rectified the depth image: its pixels are not this image's.
                depth = DepthBuffer()
            decoded = time.perf_counter()
            result = self._infer(frame, wanted, tuning)
        except ImageError as error:
            self._report(BAD_FRAME_PREFIX + error.reason, error)
            return
        except NotRectifiable as error:
            self._report(NOT_RECTIFIED_PREFIX + error.reason, error)
            return
        except InferenceError as error:
            self._report(INFERENCE_ERROR, error)
            return
        timings = {"decode": 1e3 * (decoded - start), **result.timings_ms}
        inferred = time.perf_counter()
        header, settings = arrival.message.header, tuning.settings
        manifest = tuning.perception.manifest
        scene = Scene(header, info, manifest.input_size, manifest.labels.unknown_id, settings)
        numbered = self._objects.follow(result, scene, depth)
        self.outputs.publish_maps(header, numbered)
        self.outputs.publish_overlay(header, frame.image, numbered, settings.overlay_width, settings.overlay_quality)
        timings["publish"] = 1e3 * (time.perf_counter() - inferred)
        self._finish(header, timings, start)

    def rest(self) -> None:
        """Delete the markers that are shown, and forget: frames after a pause are a beginning."""
        self._objects.forget()
        self._limiter = RateLimiter()
        self._last_published = None

    def _decode(self, arrival: Arrival, max_pixels: int) -> Frame:
        message, header = arrival.message, arrival.message.header
        decoded = decode_image_message(message, max_pixels)
        if decoded.oddity:
            self._statistics.odd_image(decoded.oddity)
        return Frame(decoded.rgb, stamp_to_ns(header.stamp), header.frame_id, arrival.camera)

    def _rectify(self, frame: Frame, info: CameraInfo | None) -> tuple[Frame, CameraInfo]:
        """The rectified frame and the calibration that it follows."""
        image = self._rectifier.apply(frame.image, info)
        assert info is not None
        return replace(frame, image=image), rectified_info(info)

    def _infer(self, frame: Frame, wanted: frozenset[Output], tuning: Tuning) -> OpenSetResult:
        """The result at the frame's size, of all of it or of the part that fills the network's input."""
        settings = tuning.settings.camera[self._camera]
        if not settings.crop:
            return tuning.perception.infer(frame, wanted)
        height, width = frame.image.shape[:2]
        region = crop_to_aspect((height, width), tuning.perception.manifest.input_size, settings.crop_center)
        result = tuning.perception.infer(replace(frame, image=region.cut(frame.image)), wanted)
        return place_back(result, region, (height, width))

    def _finish(self, header: Header, timings: dict[str, float], start: float) -> None:
        now = time.perf_counter()
        age = age_ms(stamp_to_ns(header.stamp), self._node.get_clock().now().nanoseconds)
        stages = {f"{stage}_ms": value for stage, value in timings.items()}
        topics = {"processing_time_ms": 1e3 * (now - start)}
        if age is not None:
            topics["pipeline_latency_ms"] = age
        if self._last_published is not None:
            topics["cyclic_time_ms"] = 1e3 * (now - self._last_published)
        self._last_published = now
        self.outputs.publish_timings({**stages, **topics})
        self._statistics.published({**stages, **topics})

    def _report(self, reason: str, error: DataError | InferenceError) -> None:
        self._statistics.dropped(reason, str(error))
        self._log.warn(error)
