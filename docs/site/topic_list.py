"""Every topic of the node with its type and content: what the documentation shows. No rclpy.

``test/ros/test_topic_list.py`` compares it with a running node.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A topic of the node.

    Attributes:
        name: as the node names it; CAMERA stands for each of the parameter ``cameras``.
        kinds: its message type, and the one in its place where the first one's package is not installed.
        content: what it holds, in one sentence.
    """

    name: str
    kinds: tuple[str, ...]
    content: str


_IMAGE, _COMPRESSED, _INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
_NUMBER = "std_msgs/msg/Float64"

INPUTS = (
    Topic(
        "~/input/CAMERA/image",
        (_IMAGE,),
        "rgb8, bgr8, rgba8, bgra8, mono8, mono16, 16-bit colour, Bayer, yuv422 (UYVY, YUY2), nv12, nv21",
    ),
    Topic("~/input/CAMERA/image/compressed", (_COMPRESSED,), "JPEG or PNG, read by `format`"),
    Topic(
        "~/input/CAMERA/camera_info",
        (_INFO,),
        "calibration, for places and rectification; of the image's size or aspect",
    ),
    Topic(
        "~/input/CAMERA/depth",
        (_IMAGE,),
        "optional, 16UC1 (mm) or 32FC1 (m): places objects by depth; registered to the image, any resolution",
    ),
)

OUTPUTS = (
    Topic(
        "~/output/CAMERA/anomaly_map",
        (_IMAGE,),
        "32FC1: the score that decides, higher = more anomalous, clipped to [0, 1]",
    ),
    Topic(
        "~/output/CAMERA/open_set_mask",
        (_IMAGE,),
        "mono8: class id; unknown objects have the id after the last class; 255 = unlabelled",
    ),
    Topic("~/output/CAMERA/panoptic", (_IMAGE,), "16UC1: class id * 256 + instance; 65535 = void"),
    Topic(
        "~/output/CAMERA/unknown_instances", (_IMAGE,), "16UC1: 0 = none, else the object's number, as in the markers"
    ),
    Topic(
        "~/output/CAMERA/unknown_markers", ("visualization_msgs/msg/MarkerArray",), "unknown objects in `base_frame`"
    ),
    Topic(
        "~/output/CAMERA/unknown_detections",
        ("vision_msgs/msg/Detection2DArray", ""),
        "the same objects with box, score, pose and covariance; only where vision_msgs is installed",
    ),
    Topic(
        "~/output/CAMERA/camera_info", (_INFO,), "the calibration that fits the maps: rectified and scaled as they are"
    ),
    Topic(
        "~/output/CAMERA/label_info",
        ("vision_msgs/msg/LabelInfo", "std_msgs/msg/String"),
        "class map and anomaly threshold, latched; without vision_msgs the same as JSON",
    ),
    Topic("~/debug/CAMERA/overlay", (_IMAGE,), "rgb8: the image with classes, unknown areas and outlines, for people"),
    Topic("~/debug/CAMERA/overlay/compressed", (_COMPRESSED,), "the overlay as JPEG"),
    Topic(
        "~/debug/CAMERA/anomaly_color",
        (_IMAGE,),
        "rgb8: the anomaly map in colours, dark 0 to bright 1, at the overlay's size",
    ),
    Topic("~/debug/CAMERA/processing_time_ms", (_NUMBER,), "from taking a frame to its last output published"),
    Topic(
        "~/debug/CAMERA/pipeline_latency_ms",
        (_NUMBER,),
        "from the camera's stamp to the last output published; withheld where the stamp is of another clock",
    ),
    Topic("~/debug/CAMERA/cyclic_time_ms", (_NUMBER,), "time between two answered frames"),
    *(
        Topic(f"~/debug/CAMERA/{stage}_ms", (_NUMBER,), f"time of the stage `{stage}`")
        for stage in ("decode", "preprocess", "network", "heads", "publish")
    ),
    Topic(
        "/diagnostics",
        ("diagnostic_msgs/msg/DiagnosticArray",),
        "state of the node and of every camera, with what was dropped and why",
    ),
)
