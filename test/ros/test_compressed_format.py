from __future__ import annotations

import io
from itertools import product
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_ros.images.compressed_format import parse_format
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError, pixel_format

PIL = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
COLOURS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2, 3), "bgra": (2, 1, 0, 3)}


def encoded(pixels: np.ndarray, extension: str = ".png") -> bytes:
    done, data = cv2.imencode(extension, pixels)
    assert done
    return data.tobytes()


def message(data: bytes, text: str) -> Any:
    return SimpleNamespace(format=text, data=data)


def raw(pixels: np.ndarray, encoding: str) -> Any:
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels[0].nbytes,
        is_bigendian=0,
        data=pixels.tobytes(),
    )


def published(pixels: np.ndarray, encoding: str, stream: str) -> Any:
    """What compressed_image_transport publishes as PNG: colours in the order ``stream``, the rest as it is."""
    name, bits = encoding.rstrip("0123456789"), 8 * pixels.itemsize
    if name not in COLOURS:
        return message(encoded(pixels), f"{encoding}; png compressed ")
    rgb = pixels[..., [COLOURS[name].index(c) for c in range(3)]]
    ordered = rgb[..., ::-1] if stream == "bgr" else rgb
    return message(encoded(np.ascontiguousarray(ordered)), f"{encoding}; png compressed {stream}{bits}")


ENCODINGS = [
    f"{name}{bits}"
    for bits in (8, 16)
    for name in (*COLOURS, "mono", "bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")
]


def test_the_picture_is_that_of_the_raw_image_for_streams_of_today_and_of_older_releases():
    for encoding, stream in product(ENCODINGS, ("bgr", "rgb")):
        layout = pixel_format(encoding)
        shape = (24, 32) if layout.channels == 1 else (24, 32, layout.channels)
        pixels = RNG.integers(0, np.iinfo(layout.dtype).max, shape, layout.dtype, endpoint=True)
        got, want = (decode_image_message(m).rgb for m in (published(pixels, encoding, stream), raw(pixels, encoding)))
        np.testing.assert_array_equal(got, want, f"{encoding} as {stream}")


@pytest.mark.parametrize(
    "text",
    [
        "16UC1; png compressed ",
        "16UC1; png compressed",
        "16uc1;png compressed",
        "32FC1; png compressed ",
        "16UC1; png compressed mono16",
        "16UC1; compressedDepth png",
        "16UC1",
        "8UC3; jpeg compressed ",
    ],
)
def test_a_source_without_colours_is_no_picture(text):
    shape = (4, 6, 3) if text.startswith("8UC3") else (4, 6)
    data = encoded(np.ones(shape, np.uint8 if len(shape) == 3 else np.uint16))
    with pytest.raises(ImageError) as caught:
        decode_image_message(message(data, text))
    assert caught.value.reason == "unconvertible"


RGB = RNG.integers(0, 256, (8, 8, 3), np.uint8)


IN_ORDER_OF_THE_FILE = (
    "png",
    "PNG",
    "",
    "bgr8",
    "jpeg",
    "bgr8; png compressed bgr8",
    "rgb8; png compressed bgr8",
    "rgb8;png compressed bgr8",
    "RGB8; PNG compressed BGR8",
    "rgb8; png compressed ",
    "bgra8; png compressed bgr8",
    "yuv422_yuy2; png compressed bgr8",
    "bayer_rggb8; png compressed bgr8",
    "8UC3; png compressed bgr8",
    "mono8; png compressed ",
    "something else",
)


def test_colours_are_in_the_order_of_the_file_unless_the_stream_is_named_otherwise():
    data = encoded(np.ascontiguousarray(RGB[..., ::-1]))
    for text in IN_ORDER_OF_THE_FILE:
        np.testing.assert_array_equal(decode_image_message(message(data, text)).rgb, RGB, text)


@pytest.mark.parametrize("source", ["rgb8", "bgr8", "rgba8"])
def test_a_stream_named_red_first_is_taken_so(source):
    got = decode_image_message(message(encoded(RGB), f"{source}; png compressed rgb8"))
    np.testing.assert_array_equal(got.rgb, RGB)


def test_a_mosaic_that_became_grey_stays_grey():
    grey = RGB[..., 0]
    got = decode_image_message(message(encoded(grey), "bayer_rggb8; png compressed mono8")).rgb
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_gives_the_picture_of_an_independent_reader(mode):
    picture = PIL.fromarray(RGB)
    if mode == "I;16":
        words = RNG.integers(0, 65536, (8, 8), np.uint16, endpoint=False)
        picture, want = PIL.fromarray(words), np.repeat(np.rint(words / 257)[..., None], 3, axis=2)
    else:
        picture = picture.convert("L").convert(mode) if mode == "LA" else picture.convert(mode)
        want = np.asarray(picture.convert("RGBA"))[..., :3]
    file = io.BytesIO()
    picture.save(file, "PNG")
    np.testing.assert_array_equal(decode_image_message(message(file.getvalue(), "png")).rgb, want)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_gives_the_picture_of_an_independent_reader(mode):
    smooth = PIL.fromarray(RGB).resize((64, 48), PIL.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    smooth.save(file, "JPEG", quality=95)
    got = decode_image_message(message(file.getvalue(), "rgb8; jpeg compressed bgr8")).rgb
    want = np.asarray(PIL.open(file).convert("RGB"))
    assert np.abs(got.astype(int) - want).max() <= 2


@given(st.text(max_size=60))
def test_any_text_is_parsed(text):
    form = parse_format(text)
    for name in (form.source, form.stream):
        assert name is None or pixel_format(name)


@pytest.mark.parametrize(
    ("text", "codec", "readable"),
    [
        ("rgb8; jpeg compressed bgr8", "jpeg", True),
        ("jpg", "jpg", True),
        ("png", "png", True),
        ("", "", True),
        ("16UC1; compressedDepth png", "compresseddepth", False),
        ("zstd", "zstd", False),
        ("h264", "h264", False),
        ("bgr8; avif compressed bgr8", "avif", False),
    ],
)
def test_the_codec_is_named(text, codec, readable):
    form = parse_format(text)
    assert (form.codec, form.is_readable) == (codec, readable)
