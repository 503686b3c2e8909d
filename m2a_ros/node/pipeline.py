"""One camera's frames between message and publication: decode, run the stream, publish."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from rclpy.node import Node
from std_msgs.msg import Header

from m2a_core.errors import DataError, InferenceError
from m2a_core.geometry.projection import CameraPose
from m2a_core.geometry.rectification import NotRectifiable
from m2a_core.openset.enlargement import Enlargement
from m2a_core.perception import Perception
from m2a_core.perception.task import PerceptionTask
from m2a_core.stream.camera_stream import CameraStream, PreparedFrame, StreamResult
from m2a_core.stream.config import IMAGE
from m2a_core.stream.objects import Unlocalized
from m2a_core.stream.sensors import Sensors
from m2a_core.types import Frame
from m2a_ros.camera.extrinsics import Extrinsics
from m2a_ros.camera.frame_slot import NO_SUBSCRIBER, ReceivedImage
from m2a_ros.camera.rate_limiter import RateLimiter
from m2a_ros.camera.stamps import age_ms, stamp_to_ns
from m2a_ros.camera.subscriptions import CameraInput
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError
from m2a_ros.node.camera_log import CameraLog
from m2a_ros.outputs.publishers import CameraOutputs
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.statistics import CameraStatistics

RATE_LIMIT = "rate_limit"
BAD_FRAME_PREFIX = "bad_image."
OTHER_SIZE = BAD_FRAME_PREFIX + "other_size"
NOT_RECTIFIED_PREFIX = "not_rectified."
DEGRADED_PREFIX = "degraded."
INFERENCE_ERROR = "inference_error"
STOPPED = "stopped"
INFO_MISFIT = "camera_info_does_not_fit"


@dataclass(frozen=True)
class ProcessingConfig:
    """What may change between two frames.

    Attributes:
        perception: the model with its thresholds.
        settings: the node's parameters.
    """

    perception: Perception
    settings: Settings


@dataclass(frozen=True)
class FrameJob:
    """A frame on its way through the stages.

    Attributes:
        image: the message.
        config: what it is processed by, to its end.
        prepared: the image and what is known beside it.
        task: what the network is to see, and has answered.
        start: ``time.perf_counter()`` when work on it began.
        timings_ms: milliseconds that each step took so far.
        result: what is known of it, once it is finished.
    """

    image: ReceivedImage
    config: ProcessingConfig
    prepared: PreparedFrame
    task: PerceptionTask
    start: float
    timings_ms: dict[str, float]
    result: StreamResult | None = None

    @property
    def image_count(self) -> int:
        """Images for the network."""
        return len(self.task.images)


class CameraPipeline:
    """Processes the frames of one camera."""

    def __init__(
        self, node: Node, camera: str, config: ProcessingConfig, statistics: CameraStatistics, extrinsics: Extrinsics
    ) -> None:
        """Create the camera's publishers.

        Args:
            node: the node to publish and log with.
            camera: name of the camera.
            config: the model and the parameters.
            statistics: where frames are counted.
            extrinsics: says where the camera is.
        """
        manifest, on_mismatch = config.perception.manifest, statistics.reader_mismatch
        self.outputs = CameraOutputs(node, camera, manifest, config.settings, on_mismatch)
        self._node = node
        self._camera = camera
        self._statistics = statistics
        self._extrinsics = extrinsics
        self._stream = CameraStream()
        self._log = CameraLog(node, camera)
        self._limiter = RateLimiter()
        self._last_published: float | None = None

    def prepare(self, image: ReceivedImage, config: ProcessingConfig, camera: CameraInput) -> FrameJob | None:
        """Decode a message and make it ready for the network; None for one that is dropped, which is counted."""
        wanted = self.outputs.wanted()
        settings, perception = config.settings, config.perception
        wants_info_alone = not wanted and self.outputs.wants_info()
        if not (wanted or wants_info_alone):
            self._statistics.dropped(NO_SUBSCRIBER)
            return None
        if not self._limiter.accepts(image.received_at, settings.camera[self._camera].max_rate):
            self._statistics.dropped(RATE_LIMIT)
            return None
        start = time.perf_counter()
        try:
            frame = self._decode(image, config)
            sensors = Sensors(camera.camera_info, lambda seen: self._pose(seen, image, settings), camera.depth)
            prepared = self._stream.prepare(
                frame, sensors, perception.manifest.input_size, settings.stream(self._camera)
            )
        except ImageError as error:
            self.drop(BAD_FRAME_PREFIX + error.reason, error)
            return None
        except NotRectifiable as error:
            self.drop(NOT_RECTIFIED_PREFIX + error.reason, error)
            return None
        if wants_info_alone:
            # Consumers may wait for it before they subscribe to maps.
            self._publish_info(image.message.header, prepared, perception)
            self._statistics.dropped(NO_SUBSCRIBER)
            return None
        # Else it is looked at while the accelerator works.
        if settings.suppress_degraded and self._drops(prepared.degraded, settings):
            return None
        decode_ms = 1e3 * (time.perf_counter() - start)
        try:
            # Publishers enlarge maps straight into their messages.
            task = self._stream.begin(prepared, wanted, perception, enlarge=False)
        except DataError as error:
            self.drop(OTHER_SIZE, error)
            return None
        return FrameJob(image, config, prepared, task, start, {"decode": decode_ms})

    def finish(self, job: FrameJob) -> FrameJob | None:
        """Make the result of the network's answer; None where nothing is to be published for it."""
        perception, settings = job.config.perception, job.config.settings
        inferred = self._stream.finish(job.prepared, job.task, perception)
        self._count_degraded(job)
        if self._drops(job.prepared.answer_fault, settings):
            return None
        start = time.perf_counter()
        result = self._stream.track(job.prepared, inferred, perception)
        self._count_unlocalized(result)
        timings = {**job.timings_ms, **inferred.timings_ms, "publish": 1e3 * (time.perf_counter() - start)}
        return replace(job, timings_ms=timings, result=result)

    def publish(self, job: FrameJob) -> None:
        """Publish what ``finish`` has made of a frame."""
        start, result, perception = time.perf_counter(), job.result, job.config.perception
        assert result is not None
        header = job.image.message.header
        enlargement = None
        if job.prepared.config.resolution == IMAGE and result.result.image_size is not None:
            manifest = perception.manifest
            mask = None if result.result.score_by_color else perception.camera_mask(job.task.outputs[0])
            thresholds, unknown = manifest.thresholds, manifest.labels.unknown_id
            enlargement = Enlargement(result.result.image_size, thresholds.anomaly, unknown, mask)
        seen = self._stream.seen(job.prepared, job.task, perception)
        self._publish_info(header, job.prepared, perception)
        self.outputs.publish(header, result, job.config.settings, seen, enlargement)
        publish_ms = job.timings_ms["publish"] + 1e3 * (time.perf_counter() - start)
        self._finish(header, {**job.timings_ms, "publish": publish_ms}, job.start)

    def _publish_info(self, header: Header, prepared: PreparedFrame, perception: Perception) -> None:
        """Publish the calibration of the maps; one that does not fit is counted, reported, and costs nothing else."""
        maps, image = self._stream.map_size(prepared, perception), prepared.frame.image.shape[:2]
        try:
            self.outputs.publish_info(header, prepared.sensors.camera_info, image, maps)
        except DataError as error:
            self._statistics.odd_image(INFO_MISFIT)
            self._log.warn(error)

    def fail(self, job: FrameJob, error: InferenceError) -> None:
        """Count and report a frame that the network failed on, and what is wrong with its image."""
        self._count_degraded(job)
        self.drop(INFERENCE_ERROR, error)

    def _count_degraded(self, job: FrameJob) -> None:
        # Else it was counted before it went to the network.
        if not job.config.settings.suppress_degraded:
            self._drops(job.prepared.degraded, job.config.settings)

    def _drops(self, fault: str, settings: Settings) -> bool:
        """Count what is wrong with an image or an answer; whether nothing is to be published for it."""
        if not fault:
            return False
        self._statistics.degraded(fault)
        if settings.suppress_degraded:
            self._statistics.dropped(DEGRADED_PREFIX + fault)
        return settings.suppress_degraded

    def drop(self, reason: str, error: DataError | InferenceError) -> None:
        """Count and report a frame for which nothing is published."""
        self._statistics.dropped(reason, str(error))
        self._log.warn(error)

    def reset(self) -> None:
        """Delete the markers that are shown, count what was in work, and forget: after a pause comes a beginning."""
        self._statistics.dropped_rest(STOPPED)
        self._stream.reset()
        self.outputs.clear_markers()
        self._limiter = RateLimiter()
        self._last_published = None

    def _decode(self, image: ReceivedImage, config: ProcessingConfig) -> Frame:
        message, header, takes = image.message, image.message.header, config.perception.manifest.camera
        takes_bgr = takes is not None and takes.encoding == "bgr8"
        decoded = decode_image_message(message, config.settings.max_image_pixels, takes_bgr)
        if decoded.oddity:
            self._statistics.odd_image(decoded.oddity)
        return Frame(decoded.rgb, stamp_to_ns(header.stamp), header.frame_id, image.camera)

    def _pose(self, frame: Frame, image: ReceivedImage, settings: Settings) -> CameraPose:
        return self._extrinsics.pose(self._camera, frame.frame_id, image.message.header.stamp, settings)

    def _count_unlocalized(self, result: StreamResult) -> None:
        """Count and report what objects lack for a place, if somebody listens to places; tracks alone need none."""
        missing: Unlocalized | None = result.unlocalized
        if missing is None:
            return
        if result.pose is None and self.outputs.wants_places():
            self._statistics.without_markers(missing.reason)
        if missing.error is not None and self.outputs.wants_places():
            self._log.warn(missing.error)

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
