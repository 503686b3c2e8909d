"""The contract of cv_bridge for every pair of its encodings, in NumPy alone, and its own tests' cases.

Upstream: https://github.com/ros-perception/vision_opencv, cv_bridge/test and cv_bridge/src/cv_bridge.cpp.
"""

from __future__ import annotations

import itertools
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from m2a_ros.images.cv_bridge_compat import CvBridge
from m2a_ros.images.encodings import CV_BRIDGE_ENCODINGS, ImageError, convert

BRIDGE = CvBridge()
COLORS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
TYPES = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}
COLORED = {f"{color}{bits}": (f"u{bits // 8}", n) for color, n in COLORS.items() for bits in (8, 16)}
BAYER = {f"bayer_{p}{b}": (f"u{b // 8}", 1) for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)}
YUV = {"yuv422": ("u1", 2), "yuv422_yuy2": ("u1", 2)}
PLAIN = {f"{name}C{n}": (code, n) for name, code in TYPES.items() for n in (1, 2, 3, 4, 5)}
ALL = {**COLORED, **BAYER, **YUV, **PLAIN}


def color_of(encoding: str) -> str | None:
    return encoding.rstrip("0123456789") if encoding in COLORED else None


def exists(source: str, target: str) -> bool:
    """Which conversions there are (getConversionCode upstream)."""
    if source == target:
        return True
    if source in PLAIN or target in PLAIN:
        return target in PLAIN and ALL[source][1] == ALL[target][1]
    if target in COLORED:
        # OpenCV makes no alpha of a Bayer pattern.
        return source not in BAYER or color_of(target) in ("mono", "rgb", "bgr")
    return False


def pixels_of(encoding: str) -> np.ndarray:
    code, channels = ALL[encoding]
    rng = np.random.default_rng(len(encoding))
    low, high = (-40, 120) if code[0] != "u" else (0, 250 if code == "u1" else 65000)
    values = rng.integers(low, high, (6, 8, channels)) + (rng.random((6, 8, channels)) if code[0] == "f" else 0)
    return values.astype(code)[..., 0] if channels == 1 else values.astype(code)


def depth_changed(array: np.ndarray, code: str) -> np.ndarray:
    """Values in another depth: 8 <-> 16 bits by 257, others as they are; halves to even, saturated (cv::convertTo)."""
    target = np.dtype(code)
    if target.kind == "f":
        return array.astype(target)
    factor = {(1, 2): 257.0, (2, 1): 1 / 257}.get((array.dtype.itemsize, target.itemsize), 1.0)
    values = np.round(array.astype(np.float64) * factor)
    return np.minimum(np.maximum(values, np.iinfo(target).min), np.iinfo(target).max).astype(target)


def recolored(array: np.ndarray, source: str, target: str) -> np.ndarray:
    if source == target:
        return array
    opaque = np.full(array.shape[:2], np.iinfo(array.dtype).max, array.dtype)
    if source == "mono":
        planes = dict.fromkeys("rgb", array) | {"a": opaque}
    else:
        planes = {"a": opaque} | {letter: array[..., i] for i, letter in enumerate(source)}
    if target == "mono":
        grey = 0.299 * planes["r"] + 0.587 * planes["g"] + 0.114 * planes["b"]
        return np.round(grey).astype(array.dtype)
    return np.stack([planes[letter] for letter in target], axis=2)


def expected(array: np.ndarray, source: str, target: str) -> tuple[np.ndarray, int] | None:
    """Values and how far off they may be; None where upstream leaves them to OpenCV (Bayer patterns and YUV)."""
    code, channels = ALL[target]
    if source == target:
        return array, 0
    if target in PLAIN and channels == ALL[source][1]:
        return depth_changed(array, code), 0
    if source in COLORED and target in COLORED:
        # In the source's depth, then the depth. OpenCV weighs grey in fixed point: one level of the source's depth.
        level = 257 if array.dtype == "u1" and code == "u2" else 1
        grey = "mono" in target and "mono" not in source
        return depth_changed(recolored(array, str(color_of(source)), str(color_of(target))), code), level * grey
    return None


def deviation(source: str, target: str) -> str | None:
    """What is wrong with one conversion."""
    array, (code, channels) = pixels_of(source), ALL[target]
    try:
        got = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(array, source), target)
    except ImageError as error:
        return f"refused: {error}" if exists(source, target) else None
    if not exists(source, target):
        return "not refused"
    if (got.dtype, got.shape) != (np.dtype(code), (6, 8) if channels == 1 else (6, 8, channels)):
        return f"{got.dtype} {got.shape}"
    want = expected(array, source, target)
    if want is None or np.abs(got.astype(float) - want[0].astype(float)).max() <= want[1]:
        return None
    return "wrong values"


def test_every_pair_of_encodings_gives_the_values_of_the_contract_or_is_refused() -> None:
    found = {(source, target): deviation(source, target) for source in ALL for target in ALL}
    assert {pair: what for pair, what in found.items() if what} == {}
    assert sum(exists(*pair) for pair in found) > 500


def test_big_endian_arrays_keep_their_bytes_and_come_back_native() -> None:
    for dtype, channels in itertools.product(("u2", "i2", "i4", "f4", "f8"), (1, 3)):
        values = np.random.default_rng(0).integers(0, 255, (30, 40) if channels == 1 else (30, 40, channels))
        array = values.astype(f">{dtype}")
        message = BRIDGE.cv2_to_imgmsg(array)
        assert bool(message.is_bigendian)
        assert bytes(message.data) == array.tobytes()
        back = BRIDGE.imgmsg_to_cv2(message)
        assert back.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(back, values)
        np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message, f"64FC{channels}"), values)


def test_two_channels_of_the_other_byte_order_are_swapped_each() -> None:
    """cv_bridge/test/test_endian.cpp."""
    data = np.array([1, 2], ">i4").tobytes()
    message = Image(height=1, width=1, encoding="32SC2", step=8, is_bigendian=1, data=data)
    assert BRIDGE.imgmsg_to_cv2(message).tolist() == [[[1, 2]]]


def test_1000_of_16_bits_is_4_of_8() -> None:
    """cv_bridge/test/utest.cpp, ChannelOrder."""
    message = BRIDGE.cv2_to_imgmsg(np.full((20, 20), 1000, np.uint16), "mono16")
    assert (BRIDGE.imgmsg_to_cv2(message, "bgr8") == round(1000 * 255 / 65535)).all()


def test_views_of_larger_arrays_are_written_row_by_row() -> None:
    """cv_bridge/test/utest.cpp, NonContinuous."""
    full = np.eye(8, dtype=np.uint16)
    message = BRIDGE.cv2_to_imgmsg(full[:, 2:5], "mono16")
    assert (message.height, message.width, message.step) == (8, 3, 6)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), full[:, 2:5])


def test_ten_channels_come_through() -> None:
    """cv_bridge/test/utest.cpp, imageMessageConversion."""
    message = Image(height=220, width=200, encoding="32FC10", step=200 * 40, data=bytes(220 * 200 * 40))
    assert BRIDGE.imgmsg_to_cv2(message, "32FC10").shape == (220, 200, 10)


@pytest.mark.parametrize("step", [208, 199, 200])
def test_padded_rows_are_cut_and_short_ones_refused(step: int) -> None:
    """cv_bridge/test/utest.cpp, imageMessageStep."""
    message = Image(height=220, width=200, encoding="mono8", step=step, data=bytes(220 * step))
    if step < 200:
        with pytest.raises(TypeError):
            BRIDGE.imgmsg_to_cv2(message, "mono8")
    else:
        assert BRIDGE.imgmsg_to_cv2(message, "mono8").strides == (200, 1)


# OpenCV writes grey Sun rasters with a palette that it does not read back.
LOSSLESS, OTHERS = ("png", "bmp", "dib", "tif", "tiff"), ("jpg", "jpeg", "jpe", "sr", "ras")


def test_compressed_formats_keep_type_and_shape_and_lossless_ones_the_values() -> None:
    """cv_bridge/test/conversions.py."""
    for extension, channels in itertools.product(LOSSLESS + OTHERS, (None, 1, 3)):
        shape = (100, 200) if channels is None else (100, 200, channels)
        original = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        back = BRIDGE.compressed_imgmsg_to_cv2(BRIDGE.cv2_to_compressed_imgmsg(original, extension))
        assert back.dtype == original.dtype
        want = original[..., 0] if channels == 1 else original
        assert back.shape == want.shape, extension
        if extension in LOSSLESS:
            np.testing.assert_array_equal(back, want, extension)


@pytest.mark.parametrize("target", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_compressed_colours_come_back_in_the_encoding_asked_for(target: str) -> None:
    """cv_bridge/test/test_compression.cpp."""
    original = np.random.default_rng(0).integers(0, 255, (10, 10, 4 if "a" in target else 3), np.uint8)
    opencv = "bgra8" if "a" in target else "bgr8"
    message = BRIDGE.cv2_to_compressed_imgmsg(convert(original, target, opencv), "png")
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(message, target), original)


@pytest.mark.parametrize("data", [b"", b"none", bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(30) + b"IEND\xaeB`\x82"])
def test_what_is_no_compressed_image_is_refused(data: bytes) -> None:
    message = BRIDGE.cv2_to_compressed_imgmsg(np.zeros((4, 4), np.uint8))
    message.data = data
    with pytest.raises(TypeError):
        BRIDGE.compressed_imgmsg_to_cv2(message)


def test_encodings_have_opencv_s_type_numbers() -> None:
    """cv_bridge/test/enumerants.py."""
    numbers = {
        "8U": cv2.CV_8UC1,
        "8UC1": cv2.CV_8UC1,
        "rgba8": cv2.CV_8UC4,
        "bgr16": cv2.CV_16UC3,
        "bayer_rggb16": cv2.CV_16UC1,
        "yuv422": cv2.CV_8UC2,
        "32FC4": cv2.CV_32FC4,
        "64FC2": cv2.CV_64FC2,
    }
    assert {encoding: BRIDGE.encoding_to_cvtype2(encoding) for encoding in numbers} == numbers


@pytest.mark.parametrize("dtype", ["i8", "u4", "f2", "?", "c8", "U3"])
def test_types_that_opencv_lacks_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg(np.zeros((4, 4), dtype))


def test_not_a_number_becomes_zero_and_infinity_saturates() -> None:
    array = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    assert BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(array), "8UC1").tolist() == [[0, 255, 0, 1]]


@pytest.mark.parametrize("target", ["8UC1", "8SC1", "16UC1", "16SC1", "32SC1"])
def test_floats_beyond_an_integer_s_range_saturate_where_opencv_s_do_only_below_two_to_the_31(target: str) -> None:
    small, large = np.array([[300.0, -300.0, 7e4, -7e4]], np.float32), np.array([[1e10, -1e10]], np.float32)
    code = {"8UC1": cv2.CV_8U, "8SC1": cv2.CV_8S, "16UC1": cv2.CV_16U, "16SC1": cv2.CV_16S, "32SC1": cv2.CV_32S}[target]
    ours = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(small), target)
    np.testing.assert_array_equal(ours, cv2.add(small, 0, dtype=code))
    limits = np.iinfo(ours.dtype)
    assert BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(large), target).tolist() == [[limits.max, limits.min]]


def test_conversions_of_a_ros_installation_are_used_and_its_errors_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def cvt_color(array: np.ndarray, source: str, target: str) -> np.ndarray:
        asked.append((source, target))
        if target == "mono16":
            raise RuntimeError("Unsupported conversion")
        return convert(array, source, target)

    for name in ("cv_bridge", "cv_bridge.boost", "cv_bridge.boost.cv_bridge_boost"):
        module = ModuleType(name)
        module.cvtColor2 = cvt_color  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    bridge = CvBridge()
    message = bridge.cv2_to_imgmsg(np.zeros((4, 4, 3), np.uint8), "rgb8")
    bridge.imgmsg_to_cv2(message, "bgr8")
    assert asked == [("rgb8", "bgr8")]
    with pytest.raises(ImageError, match="Unsupported"):
        bridge.imgmsg_to_cv2(message, "mono16")
    message.data = message.data[:-1]
    with pytest.raises(ImageError, match="47 bytes"):
        bridge.imgmsg_to_cv2(message, "bgr8")
    semiplanar = Image(height=2, width=2, encoding="nv12", step=2, data=bytes(6))
    bridge.imgmsg_to_cv2(semiplanar, "rgb8")
    assert asked == [("rgb8", "bgr8"), ("rgb8", "mono16")]


def test_names_of_cv_bridge_are_all_known() -> None:
    assert set(COLORED) | set(BAYER) | set(YUV) == CV_BRIDGE_ENCODINGS
