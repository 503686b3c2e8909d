"""Unknown objects -> ``vision_msgs/Detection2DArray``, where that package is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion
from std_msgs.msg import Header

from m2a_core.geometry.localization import LocalizedInstance
from m2a_core.geometry.projection import CameraPose
from m2a_core.labels.label_set import UNKNOWN_NAME
from m2a_core.stream.objects import TrackedObject
from m2a_core.types import UnknownInstance

try:
    from vision_msgs.msg import (
        BoundingBox2D,
        Detection2D,
        Detection2DArray,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
        Point2D,
        Pose2D,
    )
except ModuleNotFoundError:
    Detection2DArray = None

__all__ = ["NO_POSE", "Detection2DArray", "detections_message"]

NO_POSE = -1.0
"""First element of the covariance of a detection without a place, as in ``sensor_msgs/Imu``."""


def detections_message(header: Header, objects: Sequence[TrackedObject], camera: CameraPose | None) -> Any:
    """Build the message; needs vision_msgs.

    Args:
        header: of the image: boxes are in its pixels, poses in its optical frame.
        objects: the confirmed objects.
        camera: where the camera is; None when no instance has a place.

    Returns:
        ``vision_msgs/Detection2DArray``; a detection's ``id`` is the track's number.
    """
    detections = [_detection(header, item.instance, item.location, camera) for item in objects]
    return Detection2DArray(header=header, detections=detections)


def _detection(
    header: Header, instance: UnknownInstance, placed: LocalizedInstance | None, camera: CameraPose | None
) -> Any:
    x0, y0, x1, y1 = instance.bbox
    # Edges to coordinates: whole numbers are centres of pixels.
    center = Pose2D(position=Point2D(x=(x0 + x1 - 1) / 2, y=(y0 + y1 - 1) / 2), theta=0.0)
    hypothesis = ObjectHypothesis(class_id=UNKNOWN_NAME, score=float(instance.score))
    result = ObjectHypothesisWithPose(hypothesis=hypothesis, pose=_optical_pose(placed, camera))
    box = BoundingBox2D(center=center, size_x=float(x1 - x0), size_y=float(y1 - y0))
    return Detection2D(header=header, results=[result], bbox=box, id=str(instance.id))


def _optical_pose(placed: LocalizedInstance | None, camera: CameraPose | None) -> PoseWithCovariance:
    """The foot in the optical frame, with its covariance; the orientation of an unknown object is unknown."""
    covariance = np.zeros((6, 6))
    point = Point()
    if placed is None or camera is None:
        covariance[0, 0] = NO_POSE
    else:
        x, y, z = (float(value) for value in camera.rotation.T @ (placed.position - camera.position))
        point = Point(x=x, y=y, z=z)
        covariance[:3, :3] = camera.rotation.T @ placed.covariance @ camera.rotation
        covariance[3:, 3:] = np.pi**2 * np.eye(3)
    return PoseWithCovariance(pose=Pose(position=point, orientation=Quaternion(w=1.0)), covariance=covariance.ravel())
