"""What the node tells of itself: quality of service that does not fit, silence, and all of it from a timer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.errors import InferenceError
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_ros.process.dds import local_environment
from m2a_ros.process.shared_memory import shared_memory_problem
from test.ros.in_process import Nodes
from test.ros.messages import image, scene

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_a_publisher_of_other_quality_of_service_is_reported_with_the_remedy(nodes: Nodes) -> None:
    topic = "/m2a/input/front/image"
    nodes.start(**{f"qos_overrides.{topic}.subscription.reliability": "reliable"}, diagnostics__frame_timeout=0.2)
    name = "m2a: camera front"
    nodes.send(topic, image(scene(None), 1), BEST_EFFORT)
    nodes.until(lambda: "RELIABILITY" in nodes.status(name).get("message", ""))
    nodes.until(lambda: "no frame arrived" in nodes.status(name)["message"])
    status = nodes.status(name)
    assert status["level"] == "1"
    assert "qos_overrides" in status["message"]
    assert status[f"qos_mismatch.{topic} RELIABILITY"] == "1"
    assert status["publishers"] == "1"


def test_a_reader_of_other_quality_of_service_is_reported(nodes: Nodes) -> None:
    nodes.start()
    topic = "/m2a/output/front/panoptic"
    nodes.listen(topic, Image, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    key = f"qos_mismatch.{topic} DURABILITY"
    assert nodes.until(lambda: nodes.status("m2a: camera front").get(key)) == "1"


def test_a_reader_that_came_before_the_node_became_active_is_reported_all_the_same(nodes: Nodes) -> None:
    node = nodes.start()
    node.trigger_deactivate()
    topic = "/m2a/output/front/open_set_mask"
    nodes.listen(topic, Image, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    nodes.until(lambda: node.statistics["front"].snapshot().qos_mismatches)
    node.trigger_activate()
    nodes.received["/diagnostics"].clear()
    status = nodes.until(lambda: nodes.status("m2a: camera front"))
    assert status[f"qos_mismatch.{topic} DURABILITY"] == "1"
    assert "incompatible quality of service" in status["message"]


def test_matched_publisher_without_frames_names_the_shared_memory_profile(nodes: Nodes) -> None:
    nodes.start(diagnostics__frame_timeout=0.2)
    silent = nodes.peer.create_publisher(Image, "/m2a/input/front/image", 1)
    status = nodes.until(lambda: "fastdds_profile.xml" in nodes.status("m2a: camera front").get("message", ""))
    assert status
    nodes.peer.destroy_publisher(silent)


def test_a_publisher_of_another_type_is_named_as_the_cause(nodes: Nodes, domain: int) -> None:
    nodes.start(diagnostics__frame_timeout=0.2)
    # A process of its own, as far as DDS is concerned: one participant has one type for a topic.
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    driver = rclpy.create_node("driver", context=context)
    driver.create_publisher(CompressedImage, "/m2a/input/front/image", 1)
    nodes.until(lambda: "carries" in nodes.status("m2a: camera front").get("message", ""))
    message = nodes.status("m2a: camera front")["message"]
    assert "sensor_msgs/msg/CompressedImage and not sensor_msgs/msg/Image" in message
    assert "without /compressed" in message
    assert "fastdds_profile" not in message
    driver.destroy_node()
    rclpy.try_shutdown(context=context)


def test_shared_memory_of_another_user_is_named_where_it_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "fastdds_port7001").touch(mode=0o644)
    own = (tmp_path / "fastdds_port7001").stat().st_uid
    assert "user" not in shared_memory_problem(tmp_path, own)
    assert f"id {own}" in shared_memory_problem(tmp_path, own + 1)
    (tmp_path / "fastdds_port7001").chmod(0o666)
    assert "user" not in shared_memory_problem(tmp_path, own + 1)


def test_two_nodes_of_one_name_warn(nodes: Nodes) -> None:
    nodes.start()
    assert nodes.until(lambda: nodes.status("m2a: node").get("message")) == "active"
    nodes.start()
    status = nodes.until(lambda: "named /m2a" in (found := nodes.status("m2a: node"))["message"] and found)
    assert status["level"] == "1"


def test_simulated_time_without_a_clock_warns_until_it_comes(nodes: Nodes) -> None:
    nodes.start(use_sim_time=True)
    nodes.until(lambda: "/clock" in nodes.status("m2a: node").get("message", ""))
    clock = Clock()
    clock.clock.sec = 12
    nodes.until(lambda: nodes.status("m2a: node")["message"] == "active", lambda: nodes.send("/clock", clock))


def test_children_of_the_project_do_not_inherit_a_discovery_server() -> None:
    inherited = {"ROS_DISCOVERY_SERVER": "10.0.0.1:11811", "ROS_SUPER_CLIENT": "1", "HOME": "/home/somebody"}
    merged = {**inherited, **local_environment(inherited)}
    assert merged["ROS_DISCOVERY_SERVER"] == merged["ROS_SUPER_CLIENT"] == ""
    assert "ROS_STATIC_PEERS" not in merged


def test_diagnostics_come_from_a_timer_also_when_nothing_moves(nodes: Nodes) -> None:
    node = nodes.start(diagnostics__frame_timeout=0.1)
    first = len(nodes.until(lambda: nodes.received["/diagnostics"]))
    nodes.until(lambda: len(nodes.received["/diagnostics"]) > first + 5)
    assert "no publisher" in nodes.until(lambda: nodes.status("m2a: camera front").get("message"))
    manifest = node.model.manifest
    identity = nodes.status("m2a: node")
    assert identity["model"] == manifest.name
    assert identity["onnx_sha256"] == manifest.onnx_sha256
    assert {"backend", "input_size", "version", "state"} <= identity.keys()


@pytest.mark.parametrize(("policy", "is_published"), [("report", True), ("suppress", False)])
def test_a_black_image_is_counted_and_published_by_the_policy(nodes: Nodes, policy: str, is_published: bool) -> None:
    nodes.start(degraded__policy=policy)
    masks = nodes.listen("/m2a/output/front/open_set_mask", Image)
    topic, black = "/m2a/input/front/image", image(np.zeros((96, 128, 3), np.uint8), 1)
    wanted = ["degraded.black"] + ([] if is_published else ["dropped.degraded.black"])
    nodes.until(
        lambda: all(nodes.status("m2a: camera front").get(key) for key in wanted) and bool(masks) is is_published,
        lambda: nodes.send(topic, black),
    )


def test_a_black_image_is_counted_where_the_network_fails_on_it(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise InferenceError("the accelerator failed")

    monkeypatch.setattr(OnnxRuntime, "submit", fail)
    nodes.start()
    nodes.listen("/m2a/output/front/open_set_mask", Image)
    black, keys = image(np.zeros((96, 128, 3), np.uint8), 1), ("degraded.black", "dropped.inference_error")
    nodes.until(
        lambda: all(nodes.status("m2a: camera front").get(key) for key in keys),
        lambda: nodes.send("/m2a/input/front/image", black),
    )
