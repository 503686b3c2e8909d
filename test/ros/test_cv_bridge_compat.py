"""The bridge by example: what comes out, what is refused, and that it lends nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sensor_msgs.msg import Image

from m2a_ros.images import cv_bridge_compat
from m2a_ros.images.cv_bridge_compat import CvBridge, CvBridgeError, getCvType
from m2a_ros.images.encodings import ImageError
from test.ros.messages import image, scene

BRIDGE = CvBridge()
RNG = np.random.default_rng(0)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_bridge_gives_rgb_of_rgba_and_refuses_it_as_rgba() -> None:
    message = Image(width=64, height=48, encoding="rgba8", step=64 * 4, data=64 * 48 * b"1234")
    rgb = BRIDGE.imgmsg_to_cv2(message, "rgb8")
    assert (rgb == tuple(b"123")).all()
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg(rgb, "rgba8")
    BRIDGE.cv2_to_imgmsg(rgb, "rgb8")
    BRIDGE.cv2_to_imgmsg(rgb, "bgr8")


def test_bridge_refuses_what_is_no_array() -> None:
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg(1, "rgba8")


def test_bridge_converts_colour_to_mono16_but_not_channels_without_colour() -> None:
    rgb = noise(48, 64, 3)
    with pytest.raises(TypeError):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(rgb), "mono16")
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(rgb, "rgb8"), "mono16"), grey)


@given(arrays(st.sampled_from(["u1", "i1", "u2", "i2", "i4", "f4", "f8"]), array_shapes(min_dims=2, max_dims=3)))
def test_bridge_returns_what_it_was_given(original: np.ndarray) -> None:
    returned = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(original))
    assert returned.dtype == original.dtype
    one = original.ndim == 3 and original.shape[2] == 1
    np.testing.assert_array_equal(returned, original[..., 0] if one else original)


def test_bridge_scales_between_8_and_16_bits_and_rounds_other_depths() -> None:
    grey = noise(4, 6)
    wide = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(grey, "mono8"), "mono16")
    np.testing.assert_array_equal(wide, grey * np.uint16(257))
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(wide, "mono16"), "mono8"), grey)
    reals = np.array([[-1.0, 0.4, 2.5, 3.5, 300.0]], np.float32)
    got = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(reals), "8UC1")
    np.testing.assert_array_equal(got, [[0, 0, 2, 4, 255]])


@pytest.mark.parametrize(
    ("source", "target"), [("mono8", "bayer_rggb8"), ("rgb8", "yuv422"), ("rgb8", "8UC1"), ("8UC3", "rgb8")]
)
def test_bridge_refuses_conversions_that_do_not_exist(source: str, target: str) -> None:
    pixels = noise(4, 6) if source == "mono8" else noise(4, 6, 3)
    with pytest.raises(ImageError, match=target):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(pixels, source), target)


def test_bridge_does_not_lend_its_message_when_an_encoding_is_asked_for() -> None:
    message = image(scene(None), 1)
    BRIDGE.imgmsg_to_cv2(message, "rgb8")[:] = 0
    assert max(message.data) == 255


@pytest.mark.parametrize(
    ("encoding", "cvtype"),
    [
        ("rgb8", cv2.CV_8UC3),
        ("bgra16", cv2.CV_16UC4),
        ("mono16", cv2.CV_16UC1),
        ("bayer_grbg8", cv2.CV_8UC1),
        ("yuv422", cv2.CV_8UC2),
        ("8SC2", cv2.CV_8SC2),
        ("32SC1", cv2.CV_32SC1),
        ("64FC4", cv2.CV_64FC4),
        ("32F", cv2.CV_32FC1),
        ("16SC7", cv2.CV_16SC(7)),
    ],
)
def test_types_of_encodings_are_opencv_s(encoding: str, cvtype: int) -> None:
    assert getCvType(encoding) == BRIDGE.encoding_to_cvtype2(encoding) == cvtype


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"])
def test_types_and_dtypes_are_each_other_s(dtype: str, channels: int) -> None:
    name = BRIDGE.dtype_with_channels_to_cvtype2(np.dtype(dtype), channels)
    assert BRIDGE.encoding_to_dtype_with_channels(name) == (dtype, channels)
    assert BRIDGE.cvtype2_to_dtype_with_channels(getCvType(name)) == (dtype, channels)
    array = np.zeros((2, 2, channels), dtype)
    assert BRIDGE.cv2_to_imgmsg(array).encoding == name


def test_types_that_no_encoding_has_are_refused() -> None:
    with pytest.raises(CvBridgeError, match="float16"):
        BRIDGE.dtype_with_channels_to_cvtype2(np.dtype(np.float16), 1)
    with pytest.raises(CvBridgeError, match="depth"):
        BRIDGE.cvtype2_to_dtype_with_channels(cv2.CV_16FC3)
    with pytest.raises(CvBridgeError, match="rgb9"):
        getCvType("rgb9")


def test_the_class_works_under_its_old_name_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="use 'CvBridge'"):
        assert cv_bridge_compat.ImageBridge is CvBridge
