"""Images seen in their serialised messages: whatever is seen is what rclpy reads, and nothing else is seen."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from m2a_ros.images.serialized import view_compressed_image, view_image

number = st.integers(0, 2**32 - 1)
ascii_text = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=20)
headers = st.builds(
    lambda sec, nanosec, frame_id: Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id),
    st.integers(-(2**31), 2**31 - 1),
    number,
    ascii_text,
)
images = st.builds(
    Image,
    header=headers,
    height=number,
    width=number,
    encoding=ascii_text,
    is_bigendian=st.integers(0, 255),
    step=number,
    data=st.binary(max_size=60),
)
compressed_images = st.builds(CompressedImage, header=headers, format=ascii_text, data=st.binary(max_size=60))
messages = st.one_of(images, compressed_images)
VIEWS = {Image: view_image, CompressedImage: view_compressed_image}
FIELDS = {
    Image: ("header", "height", "width", "encoding", "is_bigendian", "step"),
    CompressedImage: ("header", "format"),
}


def check(seen: Any, read: Any) -> None:
    assert {name: getattr(seen, name) for name in FIELDS[type(read)]} == {
        name: getattr(read, name) for name in FIELDS[type(read)]
    }
    assert bytes(seen.data) == bytes(read.data)


@given(messages)
@settings(deadline=None)
def test_a_message_is_seen_as_it_was_written(message: Any) -> None:
    seen = VIEWS[type(message)](serialize_message(message))
    assert seen is not None
    check(seen, message)


@pytest.mark.slow
@given(messages, st.data())
@settings(max_examples=4 * settings().max_examples)
def test_of_damaged_bytes_nothing_is_seen_that_rclpy_does_not_read(message: Any, data: st.DataObject) -> None:
    damaged = bytearray(serialize_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(("set", "word", "cut", "grow", "remove"))):
            case "set" if damaged:
                damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
            case "word" if len(damaged) >= 8:
                at = 4 * data.draw(st.integers(1, len(damaged) // 4 - 1))
                damaged[at : at + 4] = struct.pack("<I", data.draw(st.one_of(st.integers(0, 80), number)))
            case "cut":
                del damaged[data.draw(st.integers(0, len(damaged))) :]
            case "grow":
                damaged += data.draw(st.binary(max_size=9))
            case "remove" if damaged:
                del damaged[data.draw(st.integers(0, len(damaged) - 1))]
    seen = VIEWS[type(message)](bytes(damaged))
    if seen is not None:
        check(seen, deserialize_message(bytes(damaged), type(message)))


def test_the_other_byte_order_is_seen_as_rclpy_reads_it() -> None:
    fields = struct.pack(">iII4sIII5sB2xII6s", -5, 7, 4, b"cam\0", 2, 3, 5, b"mono\0", 1, 9, 6, b"pixels")
    data = b"\0\0\0\0" + fields
    seen = view_image(data)
    assert seen is not None
    assert (seen.header.stamp.sec, seen.height, seen.width, seen.encoding, seen.step) == (-5, 2, 3, "mono", 9)
    assert bytes(seen.data) == b"pixels"
    check(seen, deserialize_message(data, Image))


@pytest.mark.parametrize("text", ["caméra", "a\0b"])
def test_texts_that_rclpy_reads_in_its_own_way_are_left_to_it(text: str) -> None:
    raw = text.encode() + b"\0"
    data = b"\0\1\0\0" + struct.pack("<iII", 1, 2, len(raw)) + raw + bytes(-len(raw) % 4) + bytes(4)
    assert view_compressed_image(data) is None


def test_nothing_is_copied() -> None:
    data = serialize_message(Image(height=1, width=4, encoding="mono8", step=4, data=b"abcd"))
    seen = view_image(data)
    assert seen is not None
    assert seen.data.obj is data
