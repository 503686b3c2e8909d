from __future__ import annotations

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.images import decode_image, read_image

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 60, 3), np.uint8)


def encode(extension: str, image: np.ndarray = PICTURE) -> bytes:
    done, data = cv2.imencode(extension, image)
    assert done
    return data.tobytes()


def with_preview(jpeg: bytes) -> bytes:
    """The JPEG with a small, complete JPEG in an APP1 segment, as cameras write it."""
    preview = encode(".jpg", PICTURE[:8, :8])
    return jpeg[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + jpeg[2:]


def test_channels_come_as_rgb(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(encode(".png", np.full((4, 5, 3), (0, 0, 255), np.uint8)))
    assert (read_image(path) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 5), 77, np.uint8), 77),
        (np.full((4, 5, 3), 77 * 256, np.uint16), 77),
        (np.full((4, 5, 4), 77, np.uint8), 77),
    ],
    ids=["gray", "16 bit", "alpha"],
)
def test_other_pixel_formats_become_8_bit_rgb(image, expected):
    out = decode_image(encode(".png", image), "picture")
    assert out.shape == (4, 5, 3)
    assert out.dtype == np.uint8
    assert (out == expected).all()


@pytest.mark.parametrize("make", [lambda j: j, with_preview], ids=["plain", "with preview"])
def test_jpeg_cut_short_is_refused_wherever_it_is_cut(make):
    data = make(encode(".jpg"))
    assert decode_image(data, "picture").shape == PICTURE.shape
    for length in (3, len(data) // 3, len(data) // 2, len(data) - 2):
        with pytest.raises(DataError, match=r"camera: the JPEG is cut short"):
            decode_image(data[:length], "camera")


def test_jpeg_followed_by_padding_is_complete():
    assert decode_image(encode(".jpg") + bytes(64), "picture").shape == PICTURE.shape


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000)], ids=["empty", "text", "zeros"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DataError, match="picture: expected an image"):
        decode_image(data, "picture")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg: cannot read the file"):
        read_image(tmp_path / "nowhere.jpg")
