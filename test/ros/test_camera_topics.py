"""Where a camera's messages come from: remapped, compressed, latched, with quality of service overridden."""

from __future__ import annotations

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from m2a_ros.camera.heard_twice import HeardTwice
from test.ros.in_process import RED_BOX, Nodes
from test.ros.messages import camera_info, compressed, image, scene

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MASK = "/m2a/output/front/open_set_mask"
INFO = "/m2a/input/front/camera_info"


def test_a_calibration_that_was_latched_before_the_node_began_is_received(nodes: Nodes) -> None:
    nodes.send(INFO, camera_info(128, 96, 100.0), LATCHED)
    node = nodes.start()
    assert nodes.until(lambda: node.inputs["front"].camera_info).width == 128


def test_a_calibration_is_received_from_a_latched_and_a_plain_publisher_of_one_topic(nodes: Nodes) -> None:
    nodes.send(INFO, camera_info(128, 96, 100.0), LATCHED)
    node = nodes.start()
    camera = node.inputs["front"]
    assert nodes.until(lambda: camera.camera_info)
    plain = nodes.peer.create_publisher(CameraInfo, INFO, 1)
    nodes.until(
        lambda: camera.camera_info is not None and camera.camera_info.width == 64,
        lambda: plain.publish(camera_info(64, 48, 50.0)),
    )
    assert "qos_mismatch" not in str(nodes.status("m2a: camera front"))


def test_calibrations_of_a_latched_publisher_count_once_each(nodes: Nodes) -> None:
    nodes.send(INFO, camera_info(128, 96, 100.0, stamp=1), LATCHED)
    node = nodes.start()
    assert nodes.until(lambda: node.inputs["front"].camera_info)
    for stamp in range(2, 7):
        nodes.send(INFO, camera_info(128, 96, 100.0 + stamp, stamp), LATCHED)
        nodes.until(lambda focal=100.0 + stamp: node.inputs["front"].camera_info.k[0] == focal)
    for _ in range(10):
        nodes.executor.spin_once(timeout_sec=0.02)
    assert node.statistics["front"].snapshot().camera_infos == 6


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([(0, b"A"), (1, b"A"), (0, b"B"), (1, b"B")], 2),
        ([(1, b"old"), (0, b"A"), (1, b"A")], 2),
        ([(0, b"A"), (0, b"B"), (1, b"A"), (1, b"B")], 2),
        ([(0, b"A"), (0, b"B"), (1, b"B"), (0, b"A"), (1, b"A")], 3),
        ([(0, b"A")] * 3, 3),
        ([(0, b"A"), (1, b"A")] * 5, 5),
    ],
    ids=["in turn", "one before", "one ahead", "one lost", "plain", "all alike"],
)
def test_what_two_subscriptions_hear_is_counted_once(heard: list[tuple[int, bytes]], expected: int) -> None:
    twice = HeardTwice()
    assert sum(twice.is_new(subscription, data) for subscription, data in heard) == expected


def test_durability_can_be_overridden_and_shows(nodes: Nodes) -> None:
    topic = "/m2a/output/front/panoptic"
    nodes.start(**{f"qos_overrides.{topic}.publisher.durability": "transient_local"})

    def durabilities() -> list[DurabilityPolicy]:
        return [end.qos_profile.durability for end in nodes.peer.get_publishers_info_by_topic(topic)]

    # DDS may take a moment to forget the node of the test before.
    nodes.until(lambda: durabilities() == [DurabilityPolicy.TRANSIENT_LOCAL])


def test_reliability_can_be_overridden_and_shows(nodes: Nodes) -> None:
    image, info = "/m2a/input/front/image", "/m2a/input/front/camera_info"
    nodes.start(**{f"qos_overrides.{image}.subscription.reliability": "reliable"})

    def reliabilities(topic: str) -> list[str]:
        return [end.qos_profile.reliability.name for end in nodes.peer.get_subscriptions_info_by_topic(topic)]

    nodes.until(lambda: (reliabilities(image), reliabilities(info)) == (["RELIABLE"], ["BEST_EFFORT"]))


@pytest.mark.parametrize(
    ("rules", "topic"),
    [
        ({"image": "/camera/image_raw"}, "/camera/image_raw/compressed"),
        ({"image": "/camera/image_raw", "image/compressed": "/jpeg"}, "/jpeg"),
        ({"image/compressed": "/jpeg"}, "/jpeg"),
        ({}, "/m2a/input/front/image/compressed"),
    ],
)
def test_compressed_images_are_read_beside_the_remapped_image(nodes: Nodes, rules: dict[str, str], topic: str) -> None:
    arguments = [x for own, to in rules.items() for x in ("-r", f"~/input/front/{own}:={to}")]
    nodes.start(ros_arguments=arguments)
    nodes.listen(MASK, Image)
    nodes.answer(MASK, compressed(scene(RED_BOX), 1, ".png"), topic)
    nodes.until(lambda: nodes.status("m2a: camera front").get("topic") == topic)


def test_an_override_for_a_topic_that_the_node_lacks_is_told_and_harms_nothing(nodes: Nodes) -> None:
    nodes.start(
        **{
            "qos_overrides./m2a/input/frnt/image.subscription.depth": 2,
            "qos_overrides./m2a/input/front/image.subscription.depth": 2,
        }
    )
    status = nodes.until(lambda: nodes.status("m2a: node"))
    assert status["level"] == "0"
    assert "qos_overrides./m2a/input/frnt/image.subscription.depth" in status["message"]
    assert "did you mean 'qos_overrides./m2a/input/front/image.subscription.depth'?" in status["message"]
    nodes.listen(MASK, Image)
    nodes.answer(MASK, image(scene(None), 1), "/m2a/input/front/image")
