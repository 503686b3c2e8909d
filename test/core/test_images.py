"""Image files: formats, bit depths, orientation, damage."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from m2a_core.errors import DataError
from m2a_core.image_header import is_cut_short, read_header
from m2a_core.images import decode_image, decode_stored, read_image, read_rgba, turned

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
ORIENTATION = 0x0112
TRUNCATABLE = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")


def encode(extension: str, image: np.ndarray = PICTURE) -> bytes:
    done, data = cv2.imencode(extension, image)
    assert done
    return data.tobytes()


def save(kind: str, image: np.ndarray = PICTURE, orientation: int | None = None, **options: object) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def with_preview(jpeg: bytes) -> bytes:
    """The JPEG with a small, complete JPEG in an APP1 segment, as cameras write it."""
    preview = encode(".jpg", PICTURE[:8, :8])
    return jpeg[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + jpeg[2:]


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """The PNG with a chunk right after its header."""
    chunk = len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]


def test_channels_come_as_rgb(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(encode(".png", np.full((4, 5, 3), (0, 0, 255), np.uint8)))
    assert (read_image(path) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 5), 77, np.uint8), 77),
        (np.full((4, 5, 3), 77 * 257, np.uint16), 77),
        (np.full((4, 5, 4), 77, np.uint8), 77),
    ],
    ids=["gray", "16 bit", "alpha"],
)
def test_other_pixel_formats_become_8_bit_rgb(image, expected):
    out = decode_image(encode(".png", image), "picture")
    assert out.shape == (4, 5, 3)
    assert out.dtype == np.uint8
    assert (out == expected).all()


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_16_bit_png_is_scaled_by_the_bits_it_states(bits):
    full = (1 << bits) - 1
    samples = np.linspace(0, full, 256).round().astype(np.uint16).reshape(16, 16)
    data = with_chunk(encode(".png", samples), b"sBIT", bytes([bits]))
    expected = np.rint(samples * (255 / full)).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(data, "picture")[..., 0], expected)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_12_bit_data_in_16_bits_are_not_dark(extension):
    dark, light = encode(extension, np.uint16([[0, 2048, 4095]])), encode(extension, np.uint16([[0, 32896, 65535]]))
    expected = decode_image(light, "picture")
    np.testing.assert_array_equal(decode_image(dark, "picture"), expected)
    assert expected[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_pixels_are_refused():
    with pytest.raises(DataError, match="picture: expected 8 or 16 bits a sample, got 32"):
        decode_image(encode(".tiff", np.full((4, 5), 0.5, np.float32)), "picture")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    # Flat blocks survive JPEG almost unchanged.
    picture = np.kron(PICTURE[:3, :4], np.ones((16, 16, 1), np.uint8))
    data = save(kind, picture, orientation, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    out = decode_image(data, "picture")
    assert out.shape == expected.shape
    assert np.abs(out.astype(int) - expected).max() <= 2
    if kind != "TIFF":
        as_stored = decode_image(data, "picture", upright=False)
        np.testing.assert_array_equal(turned(as_stored, orientation), out)


@pytest.mark.parametrize("make", [lambda j: j, with_preview], ids=["plain", "with preview"])
def test_jpeg_cut_short_is_refused_wherever_it_is_cut(make):
    data = make(encode(".jpg"))
    assert decode_image(data, "picture").shape == PICTURE.shape
    for length in (3, len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 3):
        with pytest.raises(DataError, match=r"camera: (the image is cut short|.*malformed|expected)"):
            decode_image(data[:length], "camera")


@pytest.mark.parametrize("kind", TRUNCATABLE)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_every_format_cut_short_is_refused(kind, share):
    data = save(kind)
    with pytest.raises(DataError, match="picture: "):
        decode_image(data[: int(share * len(data))], "picture")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_cut_is_seen_before_decoding(kind):
    """Some releases of OpenCV fill the missing part of a JPEG with grey and say nothing."""
    data = save(kind)
    assert not is_cut_short(data)
    assert all(is_cut_short(data[:size]) for size in range(8, len(data)))


@given(tail=st.binary(max_size=2000), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]))
@settings(max_examples=50, deadline=None)
def test_bytes_after_the_end_change_nothing(tail, kind):
    data = save(kind)
    np.testing.assert_array_equal(decode_image(data + tail, "picture"), decode_image(data, "picture"))


@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_that_lacks_only_its_end_marker_is_whole(missing):
    data = encode(".jpg")
    np.testing.assert_array_equal(decode_image(data[:-missing], "picture"), decode_image(data, "picture"))


def test_a_progressive_jpeg_without_its_end_is_cut():
    data = save("JPEG", progressive=True)
    with pytest.raises(DataError, match="cut short"):
        decode_image(data[:-2], "picture")


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000), b"<html>404</html>"], ids=["empty", "text", "0", "html"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DataError, match="picture: expected an image"):
        decode_image(data, "picture")


def test_a_pointer_of_git_lfs_is_named():
    with pytest.raises(DataError, match="a Git LFS pointer: fetch the file itself"):
        decode_image(b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "picture")


@given(data=st.binary(max_size=200), head=st.sampled_from([save(kind)[:60] for kind in TRUNCATABLE]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_an_image_or_a_data_error(data, head):
    try:
        assert decode_image(head + data, "picture").ndim == 3
    except DataError as error:
        said = str(error)
    else:
        return
    assert said.startswith("picture: ")


def test_the_pixel_limit_counts_before_anything_is_decoded():
    # A header alone: nothing to decode follows.
    png = encode(".png")
    size = (20_000).to_bytes(4, "big") * 2
    head = png[:16] + size + png[24:29]
    head += zlib.crc32(head[12:29]).to_bytes(4, "big") + png[33:]
    with pytest.raises(DataError, match=r"picture: (20000x20000 pixels are more|Image size \(400000000 pixels\))"):
        decode_image(head, "picture")
    with pytest.raises(DataError, match="picture: 60x40 pixels are more than the limit of 2399"):
        decode_image(png, "picture", max_pixels=2399)
    assert decode_image(png, "picture", max_pixels=2400).shape == PICTURE.shape


@pytest.mark.parametrize("kind", TRUNCATABLE)
def test_header_says_what_is_stored(kind):
    header = read_header(save(kind), "picture")
    assert (header.format, header.width, header.height, header.orientation) == (kind, 60, 40, 1)


def test_stored_samples_are_neither_turned_nor_scaled():
    samples = np.uint16([[1, 4095, 65535]])
    np.testing.assert_array_equal(decode_stored(encode(".png", samples), "depth"), samples)
    data = save("PNG", PICTURE, orientation=6)
    np.testing.assert_array_equal(decode_stored(data, "picture"), PICTURE[..., ::-1])


def test_a_cut_out_needs_alpha(tmp_path: Path):
    rgba = np.dstack([PICTURE, PICTURE[..., 0]])
    (tmp_path / "a.png").write_bytes(save("PNG", rgba))
    np.testing.assert_array_equal(read_rgba(tmp_path / "a.png"), rgba)
    (tmp_path / "b.png").write_bytes(save("PNG"))
    with pytest.raises(DataError, match=r"b\.png: expected an RGBA image of 8 bits, got uint8 \[40, 60, 3\]"):
        read_rgba(tmp_path / "b.png")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg: cannot read the file"):
        read_image(tmp_path / "nowhere.jpg")


def test_a_jpeg_cut_between_two_restart_intervals_is_refused():
    data = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    for number in range(8):
        with pytest.raises(DataError, match="cut short"):
            decode_image(data[: data.index(bytes([0xFF, 0xD0 + number]))], "picture")
