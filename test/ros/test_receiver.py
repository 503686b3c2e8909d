"""Sensor messages are taken on a thread of their own, beside whatever the node's executor does."""

from __future__ import annotations

import threading
import time

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

from m2a_ros.camera.receiver import Receiver
from m2a_ros.node.node import M2aNode
from m2a_ros.process.message_cache import MessageCache
from m2a_ros.process.raw_messages import take_raw
from test.ros.in_process import RED_BOX, Nodes
from test.ros.messages import camera_info, image, scene

IN = "/m2a/input/front"


def received(node: M2aNode) -> int:
    return node.statistics["front"].snapshot().received


def test_frames_are_taken_while_the_node_s_executor_does_nothing(nodes: Nodes) -> None:
    node = nodes.start()
    nodes.until(lambda: received(node), lambda: nodes.send(f"{IN}/image", image(scene(RED_BOX), 1)))
    before = received(node)
    deadline = time.monotonic() + 20
    while received(node) < before + 3 and time.monotonic() < deadline:
        nodes.send(f"{IN}/image", image(scene(RED_BOX), 2))
        nodes.send(f"{IN}/camera_info", camera_info(128, 96, 100.0))
        time.sleep(0.05)
    assert received(node) >= before + 3
    assert node.inputs["front"].camera_info is not None


def test_a_node_that_is_deactivated_takes_nothing_and_ends_the_thread(nodes: Nodes) -> None:
    node = nodes.start()
    nodes.until(lambda: received(node), lambda: nodes.send(f"{IN}/image", image(scene(RED_BOX), 1)))
    node.trigger_deactivate()
    before = received(node)
    for stamp in range(5):
        nodes.send(f"{IN}/image", image(scene(RED_BOX), stamp))
        nodes.executor.spin_once(timeout_sec=0.02)
    assert received(node) == before
    assert "m2a_receive" not in {thread.name for thread in threading.enumerate()}
    node.trigger_activate()
    nodes.until(lambda: received(node), lambda: nodes.send(f"{IN}/image", image(scene(RED_BOX), 9)))


def test_a_message_that_finds_no_memory_costs_only_itself(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, heard, lost = Receiver(nodes.peer), list[bytes](), list[str]()
    subscription = nodes.peer.create_subscription(
        String, "words", lambda data: heard.append(bytes(data)), 1, raw=True, callback_group=receiver.group
    )
    receiver.add(subscription, lost.append)
    publisher, message = nodes.peer.create_publisher(String, "words", 1), String(data="word")

    def fail(subscription: object) -> None:
        take_raw(subscription)
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr("m2a_ros.camera.receiver.take_raw", fail)
        nodes.until(lambda: lost, lambda: publisher.publish(message))
    nodes.until(lambda: heard, lambda: publisher.publish(message))
    receiver.stop()
    assert lost[0].startswith("a message could not be taken (")


def test_ros_that_is_shut_down_between_two_messages_ends_the_thread_without_an_error(
    domain: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    context = Context()
    rclpy.init(context=context, domain_id=domain)

    def fail(self: Receiver) -> None:
        context.shutdown()
        raise RuntimeError("no context")

    monkeypatch.setattr(Receiver, "wait", fail)
    before = set(threading.enumerate())
    Receiver(Node("short", context=context))
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)
        assert not thread.is_alive()
    assert "failed" not in capfd.readouterr().err


def test_a_calibration_that_is_sent_again_is_read_once() -> None:
    cache, info = MessageCache(CameraInfo), camera_info(128, 96, 100.0)
    first = cache(serialize_message(info))
    assert first == info
    info.header.stamp.sec += 1
    assert cache(serialize_message(info)) is first
    for change in ({"width": 64}, {"d": [0.1] * 5}):
        for name, value in change.items():
            setattr(info, name, value)
        assert cache(serialize_message(info)) == info
    info.header.frame_id = "other"
    assert cache(serialize_message(info)) == info
