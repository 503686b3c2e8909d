from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.encoded_image import inspect

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def encode(extension: str, shape: tuple[int, ...] = (37, 53, 3), options: tuple[int, ...] = ()) -> bytes:
    done, data = cv2.imencode(extension, RNG.integers(0, 256, shape, np.uint8), options)
    assert done
    return data.tobytes()


STREAMS = {
    "baseline": encode(".jpg"),
    "grey": encode(".jpg", (37, 53)),
    "progressive": encode(".jpg", options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    "restart markers": encode(".jpg", options=(cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    "png": encode(".png"),
    "png, grey": encode(".png", (37, 53)),
}


@pytest.mark.parametrize("data", STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("after", [b"", bytes(9), b"\xff\xff", b"\n", STREAMS["baseline"][500:]])
def test_size_and_end_are_those_of_an_independent_reader(data, after):
    found = inspect(data + after)
    with Image.open(io.BytesIO(data)) as image:
        assert (found.width, found.height) == image.size
        assert found.codec == image.format.lower()
    assert found.end == len(data)
    assert found.progressive == (data == STREAMS["progressive"])


@pytest.mark.parametrize("data", STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_cut_short_has_no_end_wherever_it_is_cut(data):
    for size in range(len(data)):
        found = inspect(data[:size])
        assert found is None or (found.end is None and (found.width, found.height) == (53, 37))


def test_a_preview_is_neither_the_size_nor_the_end():
    preview, whole = encode(".jpg", (8, 8, 3)), STREAMS["baseline"]
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    found = inspect(whole[:2] + segment + whole[2:])
    assert (found.width, found.end) == (53, len(whole) + len(segment))
    assert inspect(whole[:2] + segment + whole[2:-2]).end is None


def test_scans_of_a_progressive_jpeg_are_counted():
    assert inspect(STREAMS["progressive"]).scans == STREAMS["progressive"].count(b"\xff\xda")
    assert inspect(STREAMS["baseline"]).scans == 1


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"BM" + bytes(60), b"RIFF0000WEBP", b"\x89PNG\r\n\x1a\n"])
def test_what_is_neither_jpeg_nor_png_is_none(data):
    assert inspect(data) is None


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x01", b"\xff\xe0\x00\x02", b"\xff\xd0", b"\x00"])
def test_megabytes_of_markers_are_no_image(filling):
    # Hours, were the search quadratic.
    assert inspect(b"\xff\xd8" + filling * (4_000_000 // len(filling))) is None


@given(st.binary(max_size=200), st.sampled_from([b"", *STREAMS.values()]), st.integers(0, 400))
def test_any_bytes_give_an_answer(noise, stream, at):
    inspect(stream[:at] + noise + stream[at:])
