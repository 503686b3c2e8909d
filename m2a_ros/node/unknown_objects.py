"""The unknown objects of one camera over time and in the world: numbered, placed, published."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from m2a_core.errors import DataError
from m2a_core.geometry.depth import DepthBuffer, depth_in_metres, object_depth
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.localization import PlacedInstance, place
from m2a_core.geometry.projection import CameraPose, GroundProjector
from m2a_core.tracking.tracker import Tracker
from m2a_core.tracking.update import follow
from m2a_core.types import OpenSetResult
from m2a_ros.camera.extrinsics import Extrinsics, NoTransform
from m2a_ros.camera.stamps import stamp_to_ns
from m2a_ros.node.camera_log import CameraLog
from m2a_ros.outputs.detections import detections_message
from m2a_ros.outputs.markers import MarkerBuilder
from m2a_ros.outputs.publishers import CameraOutputs
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.statistics import CameraStatistics


@dataclass(frozen=True)
class Scene:
    """What places a frame's objects.

    Attributes:
        header: of the frame.
        info: the camera's calibration, or None.
        input_size: H, W of the network's input.
        unknown_class: class id of unknown objects.
        settings: the node's parameters.
    """

    header: Header
    info: CameraInfo | None
    input_size: tuple[int, int]
    unknown_class: int
    settings: Settings


class UnknownObjects:
    """Follows one camera's unknown objects."""

    def __init__(
        self, node: Node, camera: str, outputs: CameraOutputs, statistics: CameraStatistics, extrinsics: Extrinsics,
        settings: Settings,
    ) -> None:  # fmt: skip
        """Start with nothing seen.

        Args:
            node: to log with.
            camera: name of the camera.
            outputs: what to publish with.
            statistics: where frames without a place are counted.
            extrinsics: says where the camera is.
            settings: the node's parameters.
        """
        self._node = node
        self._camera = camera
        self._outputs = outputs
        self._statistics = statistics
        self._extrinsics = extrinsics
        self._markers = MarkerBuilder(camera, settings.base_frame, settings.marker_lifetime)
        self._tracker = Tracker()
        self._log = CameraLog(node, camera)

    def follow(self, result: OpenSetResult, scene: Scene, depth: DepthBuffer) -> OpenSetResult:
        """Number the unknown instances of the next frame, and publish markers and detections where they are heard.

        Args:
            result: of the frame; without ``unknown_instances`` there is nothing to follow.
            scene: what places its objects.
            depth: the camera's depth images.

        Returns:
            The result with the tracks' numbers in every map.
        """
        if result.unknown_instances is None:
            return result
        projector = self._projector(scene, result.unknown_instances.shape)
        placed = self._place(result, projector, scene, depth)
        ground = np.array([(np.nan, np.nan) if item is None else item.position[:2] for item in placed])
        stamp_ns = stamp_to_ns(scene.header.stamp)
        followed = follow(self._tracker, stamp_ns, result, ground, scene.settings.tracking, scene.unknown_class)
        seen, tracks = followed.seen, followed.tracks
        shown = [i for i, track in enumerate(tracks) if track.confirmed]
        if self._outputs.wants_markers():
            markers = {tracks[i].number: item for i in shown if (item := placed[i]) is not None}
            self._outputs.publish_markers(self._markers.build(scene.header.stamp, markers))
        if self._outputs.wants_detections():
            pose: CameraPose | None = projector.pose if projector else None
            objects = [(replace(seen[i], id=tracks[i].number), placed[i]) for i in shown]
            self._outputs.publish_detections(detections_message(scene.header, objects, pose))
        return followed.result

    def forget(self) -> None:
        """Delete the markers that are shown, and end all tracks."""
        self._tracker = Tracker()
        stamp = self._node.get_clock().now().to_msg()
        self._outputs.publish_markers(self._markers.build(stamp, {}))

    def _projector(self, scene: Scene, shape: tuple[int, ...]) -> GroundProjector | None:
        """From pixels to the base frame; None, counted and reported, where something it needs is missing."""
        settings = scene.settings
        if scene.info is None:
            return self._missing("no_camera_info")
        try:
            rectified = self._camera in settings.rectified_cameras
            intrinsics = Intrinsics.from_camera_info(scene.info, rectified).fitted((shape[1], shape[0]))
            if intrinsics is None:
                return self._missing("camera_info_of_other_aspect")
            pose = self._extrinsics.pose(self._camera, scene.header.frame_id, scene.header.stamp, settings)
        except DataError as error:
            return self._missing("no_transform" if isinstance(error, NoTransform) else "bad_camera_info", error)
        return GroundProjector(intrinsics, settings.mounting[self._camera], pose, settings.ground_z)

    def _place(
        self, result: OpenSetResult, projector: GroundProjector | None, scene: Scene, depth: DepthBuffer
    ) -> list[PlacedInstance | None]:
        """The place of each instance and candidate; None for one that has none."""
        if projector is None:
            return [None] * (len(result.instances) + len(result.candidates))
        assert result.unknown_instances is not None
        height, width = result.unknown_instances.shape
        rows, columns = scene.input_size
        # Outlines are known to a pixel of the network's input, then to one of the image.
        error_px = 0.5 + 0.5 * max(width / columns, height / rows)
        metres = self._depth(scene, depth)
        placed = []
        own, weak = result.unknown_instances, result.candidate_map
        for instance, ids in [*((i, own) for i in result.instances), *((c, weak) for c in result.candidates)]:
            reading = None if metres is None or ids is None else object_depth(instance, ids, metres)
            placed.append(place(instance, projector, scene.settings.marker_distance, error_px, reading))
        return placed

    def _depth(self, scene: Scene, depth: DepthBuffer) -> np.ndarray | None:
        """The depth image that belongs to the frame, in metres."""
        message = depth.nearest(stamp_to_ns(scene.header.stamp), scene.settings.depth_tolerance)
        if message is None:
            return None
        try:
            return depth_in_metres(message)
        except DataError as error:
            self._log.warn(error)
            return None

    def _missing(self, reason: str, error: DataError | None = None) -> GroundProjector | None:
        """Count and report what is missing, if somebody listens to places; numbers alone need none."""
        if self._outputs.wants_markers() or self._outputs.wants_detections():
            self._statistics.without_markers(reason)
            if error is not None:
                self._log.warn(error)
        return None
