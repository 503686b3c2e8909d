"""Label maps of every form: the stored values come out, or the file is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from m2a_core.errors import DataError
from m2a_core.labels.label_map import ANOMALY_VALUES, LabelValues, read_label_map, read_stored_values
from m2a_core.labels.panoptic_png import read_segment_ids

ONCE = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def masks(largest: int) -> st.SearchStrategy[np.ndarray]:
    """Masks of values 0..largest."""
    dtype = np.uint8 if largest < 256 else np.uint16
    return arrays(dtype, SHAPES, elements=st.integers(0, largest))


def palette(mask: np.ndarray) -> Image.Image:
    """A palette picture in which no colour equals its index."""
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette([channel for i in range(256) for channel in (255 - i, i // 2, 7)])
    return picture


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp"])
@given(mask=masks(255))
@ONCE
def test_grey_and_palette_files_give_back_their_values(tmp_path: Path, suffix: str, mask: np.ndarray) -> None:
    for name, picture in (("grey", Image.fromarray(mask)), ("palette", palette(mask))):
        path = tmp_path / f"{name}{suffix}"
        picture.save(path)
        np.testing.assert_array_equal(read_stored_values(path), mask)


@given(mask=masks(65535))
@ONCE
def test_16_bit_files_give_back_their_values(tmp_path: Path, mask: np.ndarray) -> None:
    for suffix in (".png", ".tiff"):
        Image.fromarray(mask).save(tmp_path / f"m{suffix}")
        np.testing.assert_array_equal(read_stored_values(tmp_path / f"m{suffix}"), mask)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@given(data=st.data())
@ONCE
def test_palettes_of_few_bits_give_back_their_indices(tmp_path: Path, bits: int, data: st.DataObject) -> None:
    mask = data.draw(masks((1 << bits) - 1))
    palette(mask).save(tmp_path / "m.png", bits=bits)
    np.testing.assert_array_equal(read_stored_values(tmp_path / "m.png"), mask)


@pytest.mark.parametrize("bits", [1, 2, 4])
@given(data=st.data())
@ONCE
def test_grey_of_few_bits_is_not_stretched_to_255(tmp_path: Path, bits: int, data: st.DataObject) -> None:
    mask = data.draw(masks((1 << bits) - 1))
    # A palette file of that depth, declared grey (IHDR's colour type 0) without its palette.
    palette(mask).save(tmp_path / "m.png", bits=bits)
    (tmp_path / "m.png").write_bytes(declared_grey((tmp_path / "m.png").read_bytes()))
    np.testing.assert_array_equal(read_stored_values(tmp_path / "m.png"), mask)


def declared_grey(png: bytes) -> bytes:
    """The palette PNG with the same samples as grey."""
    out, position = png[:8], 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        name, content = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        position += 12 + length
        if name == b"IHDR":
            content = content[:9] + b"\0" + content[10:]
        if name != b"PLTE":
            out += length.to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
    return out


@given(mask=masks(1))
@ONCE
def test_1_bit_files_hold_0_and_1(tmp_path: Path, mask: np.ndarray) -> None:
    for suffix in (".png", ".tiff", ".bmp"):
        Image.fromarray(mask.astype(bool)).save(tmp_path / f"m{suffix}")
        np.testing.assert_array_equal(read_stored_values(tmp_path / f"m{suffix}"), mask)


@given(mask=arrays(st.sampled_from([np.int8, np.int32, np.uint16, np.int64, np.bool_]), SHAPES))
@ONCE
def test_arrays_give_back_their_values(tmp_path: Path, mask: np.ndarray) -> None:
    np.save(tmp_path / "m.npy", mask)
    np.savez(tmp_path / "m.npz", mask)
    for name in ("m.npy", "m.npz"):
        np.testing.assert_array_equal(read_stored_values(tmp_path / name), mask)


@given(
    stored=arrays(np.int16, SHAPES, elements=st.integers(-3, 12)),
    ids=st.dictionaries(st.integers(-2, 10), st.integers(0, 254), min_size=1),
    void=st.frozensets(st.integers(-2, 10)),
)
@settings(deadline=None)
def test_every_value_has_its_meaning_or_is_refused(
    stored: np.ndarray, ids: dict[int, int], void: frozenset[int]
) -> None:
    values = LabelValues(ids, void)
    outside = {int(v) for v in np.unique(stored)} - ids.keys() - void
    if outside:
        with pytest.raises(DataError, match=r"^gt\.png: label values outside the map: ") as caught:
            values.decode(stored, "gt.png")
        for value in outside if len(outside) <= 8 else ():
            assert f"{value} ({int((stored == value).sum())} pixels)" in str(caught.value)
    else:
        expected = [[ids.get(int(v), 255) for v in row] for row in stored]
        np.testing.assert_array_equal(values.decode(stored, "gt.png"), np.array(expected, np.uint8))


@pytest.mark.parametrize("value", [-1, 2, 100, 254, 256, 1000])
def test_a_value_that_an_anomaly_mask_cannot_hold_is_refused_with_its_pixels(tmp_path: Path, value: int) -> None:
    mask = np.zeros((4, 5), np.int32)
    mask[1, :3], mask[0] = value, 255
    np.save(tmp_path / "gt.npy", mask)
    with pytest.raises(DataError) as caught:
        read_label_map(tmp_path / "gt.npy", ANOMALY_VALUES)
    assert str(caught.value) == (
        f"{tmp_path / 'gt.npy'}: label values outside the map: {value} (3 pixels); expected 0, 1 and 255 for void"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LabelValues({0: 0, 1: 1}), "0, 1 and 255 for void"),
        (LabelValues({i: i for i in range(11)}, frozenset({11})), "0..10 and 11 for void"),
        (LabelValues({7: 0, 8: 1, 9: 2, 11: 3}, frozenset({-1, 0, 1, 2})), "7..9, 11 and -1..2 for void"),
        (LabelValues({0: 0}, frozenset()), "0"),
    ],
)
def test_allowed_values_are_said_in_short(values: LabelValues, said: str) -> None:
    assert str(values) == said


def test_colours_are_refused_with_what_was_found(tmp_path: Path) -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[0, :2] = (255, 0, 0)
    Image.fromarray(picture).save(tmp_path / "gt.png")
    with pytest.raises(DataError, match=r"gt\.png: an RGB picture that holds .*\(255, 0, 0\) \(2 pixels\)"):
        read_stored_values(tmp_path / "gt.png")


def _png_of_16_bits(samples: np.ndarray, kind: int) -> bytes:
    """A PNG of 16-bit samples [H, W, C], by the standard (W3C PNG)."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


IDS_OF_16_BITS = np.array([[7, 300], [26, 513]], np.uint16)


@pytest.mark.parametrize("kind", [2, 4, 6], ids=["RGB", "grey with alpha", "RGBA"])
def test_png_colours_of_16_bits_are_not_read_as_their_high_byte(tmp_path: Path, kind: int) -> None:
    channels = [IDS_OF_16_BITS] * (1 if kind == 4 else 3) + [np.full_like(IDS_OF_16_BITS, 65535)] * (kind != 2)
    (tmp_path / "gt.png").write_bytes(_png_of_16_bits(np.dstack(channels), kind))
    with pytest.raises(DataError, match=r"gt\.png: an \w+ picture whose channels have not 8 bits each; save the ids"):
        read_stored_values(tmp_path / "gt.png")
    with pytest.raises(DataError, match="whose channels have not 8 bits each"):
        read_segment_ids(tmp_path / "gt.png", {1})


@pytest.mark.parametrize("compression", [1, 5, 8], ids=["none", "LZW", "deflate"])
@pytest.mark.parametrize("alpha", [False, True], ids=["RGB", "RGBA"])
def test_tiff_colours_of_16_bits_are_not_read_as_their_high_byte(tmp_path: Path, alpha: bool, compression: int) -> None:
    stored = np.dstack([IDS_OF_16_BITS] * 3 + [np.full_like(IDS_OF_16_BITS, 65535)] * alpha)
    assert cv2.imwrite(str(tmp_path / "gt.tif"), stored, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    with pytest.raises(DataError, match=r"gt\.tif: an RGBA? picture whose channels have not 8 bits each"):
        read_stored_values(tmp_path / "gt.tif")


@pytest.mark.parametrize(
    "data",
    [
        b"P5 2 2 3\n\0\1\2\3",
        b"P2 2 2 3\n0 1 2 3\n",
        b"P5 2 1 1000\n\0\7\1\54",
        b"P6 1 1 65535\n" + b"\1\54" * 3,
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0) + b"\x21\x04\x42\x08",
    ],
    ids=["PGM up to 3", "PGM in text", "PGM up to 1000", "PPM of 16 bits", "BMP of 5 bits"],
)
def test_samples_that_a_decoder_would_stretch_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "gt.png").write_bytes(data)
    with pytest.raises(DataError, match=r"gt\.png: .*; save the ids as"):
        read_stored_values(tmp_path / "gt.png")


@pytest.mark.parametrize("data", [b"P5 2 2 255\n\0\1\2\3", b"P2 2 2 255\n0 1 2 3\n", b"P5 2 2 65535\n\0\0\0\1\0\2\0\3"])
def test_pgm_gives_back_its_values(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "gt.pgm").write_bytes(data)
    np.testing.assert_array_equal(read_stored_values(tmp_path / "gt.pgm"), [[0, 1], [2, 3]])


def test_transparent_labels_are_refused(tmp_path: Path) -> None:
    grey = np.ones((4, 5), np.uint8)
    Image.fromarray(np.dstack([grey, grey, grey, grey * 200])).save(tmp_path / "gt.png")
    with pytest.raises(DataError, match=r"gt\.png: parts of the label map are transparent"):
        read_stored_values(tmp_path / "gt.png")


def test_a_jpeg_is_refused_whatever_its_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "gt.png", "JPEG")
    with pytest.raises(DataError, match=r"gt\.png: a JPEG, which changes label values"):
        read_stored_values(tmp_path / "gt.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp"])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"gt{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (40, 50), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"gt\{suffix}: "):
        read_stored_values(path)


@pytest.mark.parametrize("array", [np.zeros((4, 5), np.float32), np.zeros((2, 4, 5), np.uint8), np.zeros((0, 5), int)])
def test_what_is_no_map_of_integers_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "gt.npy", array)
    with pytest.raises(DataError, match=r"gt\.npy: expected a mask \[H, W\] of integers, got"):
        read_stored_values(tmp_path / "gt.npy")


def test_exif_orientation_counts_for_labels_as_for_pictures(tmp_path: Path) -> None:
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(mask).save(tmp_path / "gt.png", exif=exif)
    np.testing.assert_array_equal(read_stored_values(tmp_path / "gt.png"), np.rot90(mask, 3))
