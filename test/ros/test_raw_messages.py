"""Serialised messages that go around rclpy are those that it sends and takes."""

from __future__ import annotations

import ctypes
import time

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from m2a_ros.process import raw_messages
from m2a_ros.process.raw_messages import publish_raw, take_raw
from test.ros.in_process import Nodes
from test.ros.messages import image, scene

SENT = image(scene(None), 1)
SERIALIZED = serialize_message(SENT)


@pytest.fixture
def pair(nodes: Nodes) -> tuple[Publisher[Image], Subscription[Image]]:
    """A publisher and a subscription that have found each other."""
    peer: Node = nodes.peer
    subscription = peer.create_subscription(Image, "pictures", lambda _: None, 1, raw=True)
    publisher = peer.create_publisher(Image, "pictures", 1)
    nodes.until(lambda: publisher.get_subscription_count() == subscription.get_publisher_count() == 1)
    # Else the executor takes what is sent.
    nodes.executor.remove_node(peer)
    return publisher, subscription


def taken(subscription: Subscription[Image]) -> memoryview | bytes:
    deadline = time.monotonic() + 20
    while (data := take_raw(subscription)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert data is not None
    return data


@pytest.mark.parametrize("without", [False, True], ids=["rcl", "rclpy"])
def test_what_is_published_is_taken_byte_for_byte(
    pair: tuple[Publisher[Image], Subscription[Image]], without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:
        monkeypatch.setattr(raw_messages, "client_library", lambda: None)
    publisher, subscription = pair
    assert take_raw(subscription) is None
    publish_raw(publisher, np.frombuffer(SERIALIZED, np.uint8))
    data = taken(subscription)
    assert bytes(data) == SERIALIZED
    assert memoryview(data).readonly


def test_the_client_library_is_found() -> None:
    assert raw_messages.client_library() is not None


def test_bytes_live_as_long_as_anybody_looks_at_them(pair: tuple[Publisher[Image], Subscription[Image]]) -> None:
    publisher, subscription = pair
    views = []
    for value in range(20):
        message = Image(height=300, width=300, encoding="mono8", step=300, data=bytes([value]) * 90_000)
        publisher.publish(message)
        views.append(np.frombuffer(taken(subscription), np.uint8)[-90_000:])
    assert [set(view.tolist()) for view in views] == [{value} for value in range(20)]


def test_a_message_that_finds_no_memory_costs_only_itself(
    pair: tuple[Publisher[Image], Subscription[Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscription = pair
    library = raw_messages.client_library()
    assert library is not None
    usual = library.rcutils_get_default_allocator()
    none_left = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)(lambda *_: None)
    empty = raw_messages.Allocator(
        usual.allocate, usual.deallocate, ctypes.cast(none_left, ctypes.c_void_p), usual.zero_allocate, usual.state
    )
    with monkeypatch.context() as patch:
        patch.setattr(library, "rcutils_get_default_allocator", lambda: empty)
        publisher.publish(SENT)
        with pytest.raises(MemoryError):
            taken(subscription)
    publisher.publish(SENT)
    assert deserialize_message(bytes(taken(subscription)), Image) == SENT
