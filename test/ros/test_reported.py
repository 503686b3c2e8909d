"""What the node tells of itself: quality of service that does not fit, silence, and all of it from a timer."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from test.ros.messages import image, scene
from test.ros.rig import Rig

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_a_publisher_of_other_quality_of_service_is_reported_with_the_remedy(rig: Rig) -> None:
    topic = "/m2a/input/front/image"
    rig.start(**{f"qos_overrides.{topic}.subscription.reliability": "reliable"}, diagnostics__frame_timeout=0.2)
    name = "m2a: camera front"
    rig.send(topic, image(scene(None), 1), BEST_EFFORT)
    rig.until(lambda: "RELIABILITY" in rig.status(name).get("message", ""))
    rig.until(lambda: "no frame came" in rig.status(name)["message"])
    status = rig.status(name)
    assert status["level"] == "1"
    assert "qos_overrides" in status["message"]
    assert status[f"qos_mismatch.{topic} RELIABILITY"] == "1"
    assert status["publishers"] == "1"


def test_a_reader_of_other_quality_of_service_is_reported(rig: Rig) -> None:
    rig.start()
    topic = "/m2a/output/front/panoptic"
    rig.listen(topic, Image, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    key = f"qos_mismatch.{topic} DURABILITY"
    assert rig.until(lambda: rig.status("m2a: camera front").get(key)) == "1"


def test_matched_publisher_without_frames_names_the_shared_memory_profile(rig: Rig) -> None:
    rig.start(diagnostics__frame_timeout=0.2)
    silent = rig.peer.create_publisher(Image, "/m2a/input/front/image", 1)
    status = rig.until(lambda: "fastdds_profile.xml" in rig.status("m2a: camera front").get("message", ""))
    assert status
    rig.peer.destroy_publisher(silent)


def test_diagnostics_come_from_a_timer_also_when_nothing_moves(rig: Rig) -> None:
    node = rig.start(diagnostics__frame_timeout=0.1)
    first = len(rig.until(lambda: rig.received["/diagnostics"]))
    rig.until(lambda: len(rig.received["/diagnostics"]) > first + 5)
    assert "no publisher" in rig.until(lambda: rig.status("m2a: camera front").get("message"))
    manifest = node._engine.manifest  # type: ignore[union-attr]
    identity = rig.status("m2a: node")
    assert identity["model"] == manifest.name
    assert identity["onnx_sha256"] == manifest.onnx_sha256
    assert {"backend", "input_size", "version", "state"} <= identity.keys()
