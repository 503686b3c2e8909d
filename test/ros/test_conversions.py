from __future__ import annotations

import array
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.errors import DataError
from m2a_ros.images.conversions import (
    fill_image,
    fill_jpeg,
    image_to_array,
    image_to_rgb,
)
from m2a_ros.images.encodings import ImageError

RNG = np.random.default_rng(0)


@dataclass
class Message:
    """The fields of sensor_msgs/Image; conversions need no more."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = 0
    header: Any = field(default=None)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def packed(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Message:
    """A message written byte by byte."""
    wire = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = [wire[y].tobytes() + b"\xab" * padding for y in range(len(wire))]
    return Message(*pixels.shape[:2], encoding, len(rows[0]), array.array("B", b"".join(rows)), int(big_endian))


@pytest.mark.parametrize(("encoding", "order"), [("rgb8", (0, 1, 2)), ("bgr8", (2, 1, 0))])
def test_three_channels_come_out_as_rgb(encoding: str, order: tuple[int, int, int]) -> None:
    pixels = noise(5, 7, 3)
    np.testing.assert_array_equal(image_to_rgb(packed(pixels, encoding)), pixels[..., order])


@pytest.mark.parametrize(("encoding", "order"), [("rgba8", (0, 1, 2)), ("bgra8", (2, 1, 0))])
def test_alpha_is_dropped(encoding: str, order: tuple[int, int, int]) -> None:
    pixels = noise(5, 7, 4)
    np.testing.assert_array_equal(image_to_rgb(packed(pixels, encoding)), pixels[..., order])


def test_grey_is_repeated_and_16_bits_are_divided_by_257() -> None:
    grey = noise(5, 7)
    want = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(image_to_rgb(packed(grey, "mono8")), want)
    np.testing.assert_array_equal(image_to_rgb(packed(grey.astype(np.uint16) * 257, "mono16")), want)


def test_bayer_of_a_plain_colour_gives_that_colour() -> None:
    color = {"r": 200, "g": 120, "b": 40}
    for name, (bits, dtype, scale) in product(("rggb", "bggr", "gbrg", "grbg"), ((8, "u1", 1), (16, "u2", 257))):
        pattern = np.array([scale * color[letter] for letter in name], dtype).reshape(2, 2)
        rgb = image_to_rgb(packed(np.tile(pattern, (6, 8)), f"bayer_{name}{bits}"))
        assert (rgb[2:-2, 2:-2] == (200, 120, 40)).all(), (name, bits)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", (1, 0)), ("uyvy", (1, 0)), ("yuv422_yuy2", (0, 1)), ("yuyv", (0, 1))]
)
def test_yuv422_without_colour_gives_grey(encoding: str, order: tuple[int, int]) -> None:
    luma_and_chroma = np.stack([np.full((4, 6), 16 + 110, np.uint8), np.full((4, 6), 128, np.uint8)], axis=2)
    rgb = image_to_rgb(packed(luma_and_chroma[..., order], encoding))
    np.testing.assert_allclose(rgb, round(110 * 255 / 219), atol=1)


def yuv_limited(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Y, Cb, Cr of an RGB colour as ITU-R BT.601 has it for digital video (16..235, 16..240)."""
    red, green, blue = color
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = 128 + (blue - luma) / 1.772 * 224 / 255, 128 + (red - luma) / 1.402 * 224 / 255
    return round(16 + luma * 219 / 255), round(cb), round(cr)


@given(
    encoding=st.sampled_from(["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"]),
    padding=st.integers(0, 5),
    color=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_yuv_of_a_plain_colour_gives_that_colour(encoding: str, padding: int, color: tuple[int, int, int]) -> None:
    luma, cb, cr = yuv_limited(color)
    if encoding in ("nv12", "nv21"):
        chroma = [cb, cr] if encoding == "nv12" else [cr, cb]
        planes = np.vstack([np.full((4, 6), luma, np.uint8), np.tile(np.array(chroma, np.uint8), (2, 3))])
        message = packed(planes, encoding, padding)
        message.height = 4
    else:
        pair = [luma, cb, luma, cr] if "yuy" in encoding else [cb, luma, cr, luma]
        message = packed(np.tile(np.array(pair, np.uint8), (4, 3)).reshape(4, 6, 2), encoding, padding)
    rgb = image_to_rgb(message)
    assert rgb.shape == (4, 6, 3)
    np.testing.assert_allclose(rgb, np.broadcast_to(color, rgb.shape), atol=4)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_semiplanar_chroma_belongs_to_its_two_by_two_pixels(encoding: str) -> None:
    left, right = yuv_limited((255, 0, 0)), yuv_limited((0, 0, 255))
    luma = np.repeat(np.array([[left[0], left[0], right[0], right[0]]], np.uint8), 2, axis=0)
    order = (1, 2) if encoding == "nv12" else (2, 1)
    chroma = np.array([[left[order[0]], left[order[1]], right[order[0]], right[order[1]]]], np.uint8)
    message = packed(np.vstack([luma, chroma]), encoding)
    message.height = 2
    rgb = image_to_rgb(message).astype(int)
    np.testing.assert_allclose(rgb[:, :2], np.broadcast_to((255, 0, 0), (2, 2, 3)), atol=4)
    np.testing.assert_allclose(rgb[:, 2:], np.broadcast_to((0, 0, 255), (2, 2, 3)), atol=4)


@pytest.mark.parametrize(("height", "width", "size"), [(3, 4, 18), (4, 3, 18), (4, 4, 16), (4, 4, 25)])
def test_semiplanar_images_need_even_sizes_and_all_their_rows(height: int, width: int, size: int) -> None:
    with pytest.raises(ImageError) as caught:
        image_to_rgb(Message(height, width, "nv12", width, bytes(size)))
    assert caught.value.reason == "size_mismatch"


def test_semiplanar_images_are_read_only() -> None:
    with pytest.raises(ImageError, match="nv12"):
        fill_image(Image(), np.zeros((6, 4), np.uint8), "nv12")


@given(padding=st.integers(0, 70), channels=st.sampled_from([("rgb8", 3), ("rgba8", 4), ("mono8", 1)]))
def test_row_padding_of_any_length_is_skipped(padding: int, channels: tuple[str, int]) -> None:
    encoding, number = channels
    pixels = noise(4, 6, number) if number > 1 else noise(4, 6)
    np.testing.assert_array_equal(image_to_array(packed(pixels, encoding, padding)), pixels)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("big_endian", [False, True])
def test_byte_order_is_the_message_s(padding: int, big_endian: bool) -> None:
    pixels = noise(4, 6, dtype=np.uint16)
    got = image_to_array(packed(pixels, "mono16", padding, big_endian))
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, pixels)


def test_contiguous_images_are_not_copied() -> None:
    message = packed(noise(4, 6, 3), "rgb8")
    assert np.shares_memory(image_to_array(message), np.frombuffer(message.data, np.uint8))


BAD = {
    "unknown encoding": ({"encoding": "rgb9"}, "unknown_encoding", "rgb9"),
    "encoding of a thousand digits": ({"encoding": "8UC" + "9" * 9999}, "unknown_encoding", "999...'"),
    "encoding that forges a line": ({"encoding": "rgb8\n[INFO] all is well\x1b[2J"}, "unknown_encoding", r"\n[INFO]"),
    "empty encoding": ({"encoding": ""}, "unknown_encoding", "''"),
    "no rows": ({"height": 0, "data": b""}, "empty", "no pixels"),
    "no columns": ({"width": 0, "step": 0, "data": b""}, "empty", "no pixels"),
    "step below a row": ({"step": 17}, "size_mismatch", "at least 18"),
    "data too short": ({"data": bytes(71)}, "size_mismatch", "71 bytes"),
    "data too long": ({"data": bytes(73)}, "size_mismatch", "73 bytes"),
    "height too large": ({"height": 5}, "size_mismatch", "5 * 18"),
    "no colours": ({"encoding": "8UC3"}, "unconvertible", "8UC3"),
    "float": ({"encoding": "32FC1", "step": 24, "data": bytes(96)}, "unconvertible", "32FC1"),
}


@pytest.mark.parametrize(("change", "reason", "named"), BAD.values(), ids=BAD.keys())
def test_malformed_images_are_refused_by_reason(change: dict[str, Any], reason: str, named: str) -> None:
    message = packed(noise(4, 6, 3), "rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=r".") as caught:
        image_to_rgb(message)
    assert caught.value.reason == reason
    assert named in str(caught.value)
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, TypeError)


@settings(max_examples=2 * settings().max_examples)
@given(
    height=st.integers(0, 5),
    width=st.integers(0, 5),
    step=st.integers(0, 20),
    size=st.integers(0, 100),
    encoding=st.sampled_from(["rgb8", "bgra8", "mono16", "bayer_rggb8", "yuv422", "nv21", "32FC1", "8UC5", "nonsense"]),
)
def test_any_size_fields_give_a_whole_image_or_an_image_error(
    height: int, width: int, step: int, size: int, encoding: str
) -> None:
    try:
        rgb = image_to_rgb(Message(height, width, encoding, step, bytes(size)))
    except ImageError:
        return
    assert rgb.shape == (height, width, 3)
    assert size == (height * 3 // 2 if encoding == "nv21" else height) * step


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (noise(4, 6), "mono8"),
        (noise(4, 6, dtype=np.uint16), "16UC1"),
        (noise(4, 6, 3), "rgb8"),
        (RNG.random((4, 6), np.float32), "32FC1"),
        (noise(4, 12, 3)[:, ::2], "bgr8"),
    ],
)
def test_filled_messages_hold_the_array_s_bytes(pixels: np.ndarray, encoding: str) -> None:
    message = Image()
    fill_image(message, pixels, encoding)
    assert (message.height, message.width, message.encoding) == (4, 6, encoding)
    assert message.step * 4 == len(message.data) == pixels.nbytes
    assert bytes(message.data) == pixels.tobytes()


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [(noise(4, 6), "rgb8"), (noise(4, 6, 3), "mono8"), (noise(4, 6), "32FC1"), (np.zeros((0, 6), np.uint8), "mono8")],
)
def test_arrays_that_do_not_fit_the_encoding_are_refused(pixels: np.ndarray, encoding: str) -> None:
    with pytest.raises(ImageError):
        fill_image(Image(), pixels, encoding)


def test_jpeg_message_decodes_to_the_picture() -> None:
    rgb = cv2.GaussianBlur(noise(64, 64, 3), (0, 0), 8)
    message = CompressedImage()
    fill_jpeg(message, rgb)
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - rgb).max() < 12
