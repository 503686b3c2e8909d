from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage

from m2a_ros.images.decoding import BYTES_AFTER_END, WITHOUT_END, decode_image_message
from m2a_ros.images.encodings import ImageError
from test.ros.messages import compressed, scene

RNG = np.random.default_rng(0)
BASELINE, RESTART = (), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def picture(height: int = 480, width: int = 640, channels: int = 3) -> np.ndarray:
    """A smooth picture with some noise, as cameras see."""
    coarse = RNG.integers(0, 256, (12, 16, channels), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    return np.clip(smooth.astype(int) + RNG.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, options: tuple[int, ...] = BASELINE) -> bytes:
    done, data = cv2.imencode(".jpg", pixels, options)
    assert done
    return data.tobytes()


def message(data: bytes, text: str = "jpeg") -> Any:
    return SimpleNamespace(format=text, data=data)


def refused(data: bytes, text: str = "jpeg", **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image_message(message(data, text), **options)
    return caught.value


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_compressed_images_are_decoded_as_rgb(extension: str) -> None:
    rgb = cv2.resize(scene((20, 30, 60, 70)), (256, 192), interpolation=cv2.INTER_NEAREST)
    decoded = decode_image_message(compressed(rgb, 1, extension))
    assert np.abs(decoded.rgb.astype(int) - rgb).mean() <= (0 if extension == ".png" else 3)
    assert decoded.oddity is None


@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_small_image_that_is_cut_off_is_refused(extension: str, share: float) -> None:
    data = bytes(compressed(RNG.integers(0, 256, (64, 64, 3), np.uint8), 1, extension).data)
    assert refused(data[: int(share * len(data))], extension[1:]).reason == "undecodable"


@pytest.mark.parametrize("options", [BASELINE, RESTART], ids=["baseline", "restart markers"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9])
def test_a_jpeg_of_which_rows_are_missing_is_refused(options: tuple[int, ...], channels: int, share: float) -> None:
    data = jpeg(picture(channels=channels), options)
    error = refused(data[: int(share * len(data))])
    assert error.reason == "undecodable"
    assert "cut off" in str(error)


def test_a_jpeg_that_is_cut_between_two_restart_intervals_is_refused() -> None:
    data = jpeg(picture(), RESTART)
    middle = data.index(b"\xff\xd3", len(data) // 2)
    assert "cut off" in str(refused(data[:middle]))


@pytest.mark.parametrize("grey", [False, True], ids=["picture", "flat grey"])
@pytest.mark.parametrize("size", [(480, 640), (64, 64)])
@pytest.mark.parametrize("options", [BASELINE, RESTART], ids=["baseline", "restart markers"])
@pytest.mark.parametrize("end", [b"", b"\xff"], ids=["no end marker", "half an end marker"])
def test_a_whole_jpeg_without_its_end_marker_is_decoded_and_said(
    grey: bool, size: tuple[int, int], options: tuple[int, ...], end: bytes
) -> None:
    pixels = np.full((*size, 3), 128, np.uint8) if grey else picture(*size)
    data = jpeg(pixels, options)
    decoded = decode_image_message(message(data[:-2] + end))
    assert decoded.oddity == WITHOUT_END
    np.testing.assert_array_equal(decoded.rgb, decode_image_message(message(data)).rgb)


def test_a_few_bytes_that_are_missing_cost_the_last_rows_alone() -> None:
    data = jpeg(picture())
    decoded = decode_image_message(message(data[:-12]))
    np.testing.assert_array_equal(decoded.rgb[:460], decode_image_message(message(data)).rgb[:460])


def test_a_progressive_jpeg_without_its_end_marker_is_refused() -> None:
    """Its last pass refines the whole picture, and nothing tells whether it came."""
    assert refused(jpeg(picture(), PROGRESSIVE)[:-2]).reason == "undecodable"


TAILS = {"zeros": bytes(500), "ff": b"\xff" * 8, "newline": b"\n", "an older frame": jpeg(picture())[9000:9700]}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
@pytest.mark.parametrize("options", [BASELINE, RESTART, PROGRESSIVE], ids=["baseline", "restart", "progressive"])
def test_bytes_after_a_jpeg_change_nothing_and_are_said(tail: bytes, options: tuple[int, ...]) -> None:
    data = jpeg(picture(), options)
    decoded = decode_image_message(message(data + tail))
    assert decoded.oddity == BYTES_AFTER_END
    np.testing.assert_array_equal(decoded.rgb, decode_image_message(message(data)).rgb)


def test_an_orientation_in_the_file_is_ignored() -> None:
    """camera_info describes the sensor."""
    data = jpeg(picture(48, 64))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)
    np.testing.assert_array_equal(decode_image_message(message(turned)).rgb, decode_image_message(message(data)).rgb)


def empty_png(width: int, height: int) -> bytes:
    """A small file of one bit a pixel, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + (width + 7) // 8)
    pixels = zlib.compressobj(9)
    data = b"".join([*(pixels.compress(row) for _ in range(height)), pixels.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def resized_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    data = bytearray(jpeg(np.zeros((8, 8, 3), np.uint8)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("data", [empty_png(16000, 16000), resized_jpeg(65000, 65000)], ids=["png", "jpeg"])
def test_an_image_that_claims_too_many_pixels_is_not_decoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    error = refused(data)
    assert error.reason == "too_large"
    assert "max_image_pixels" in str(error)


def test_the_limit_on_pixels_is_exact() -> None:
    data = empty_png(100, 50)
    assert decode_image_message(message(data, "png"), max_pixels=5000).rgb.shape == (50, 100, 3)
    assert refused(data, "png", max_pixels=4999).reason == "too_large"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(picture(48, 64), PROGRESSIVE)
    last = data.rindex(b"\xff\xda")
    assert "scans" in str(refused(data[:last] + data[last:-2] * 1000 + data[-2:]))


@pytest.mark.parametrize("extension", [".bmp", ".webp", ".tiff", ".ppm", ".jp2", ".gif", ".avif"])
def test_other_codecs_are_not_decoded_and_named(extension: str) -> None:
    try:
        done, data = cv2.imencode(extension, picture(48, 64))
    except cv2.error:
        done = False
    if not done:
        pytest.skip(f"this OpenCV writes no {extension}")
    error = refused(data.tobytes(), extension[1:])
    assert error.reason == "undecodable"
    assert "expected a whole JPEG or PNG" in str(error)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"not an image", "undecodable"), (bytes(500), "undecodable")]
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image_message(CompressedImage(format="jpeg", data=data))
    assert caught.value.reason == reason


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(compressed(picture(48, 64), 1, ".png").data)
    data[200] ^= 0xFF
    assert refused(bytes(data), "png").reason == "undecodable"


def test_a_long_format_does_not_fill_the_log() -> None:
    assert len(str(refused(b"", "x" * 1_000_000 + "\n\x1b[31m"))) < 300
    assert "\n" not in str(refused(b"", "a\nb"))


STREAMS = [
    jpeg(picture(32, 48)),
    jpeg(picture(32, 48), PROGRESSIVE),
    jpeg(picture(32, 48), RESTART),
    bytes(compressed(picture(16, 16), 1, ".png").data),
]


@settings(max_examples=3 * settings().max_examples)
@given(
    stream=st.sampled_from(STREAMS),
    cut=st.integers(0, 3000),
    text=st.sampled_from(["jpeg", "bayer_gbrg8; png", "\0"]),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=6)), max_size=6),
)
def test_any_damage_gives_a_picture_or_an_image_error(
    stream: bytes, cut: int, text: str, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(stream[: cut or None])
    for at, change in changes:
        data[at : at + len(change)] = change
    try:
        decoded = decode_image_message(message(bytes(data), text), max_pixels=100_000)
    except ImageError:
        return
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.shape[2] == 3
    assert decoded.rgb.shape[0] * decoded.rgb.shape[1] <= 100_000
