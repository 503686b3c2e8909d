"""Images for display by cv_bridge's rules: values of its own tests, and of its definition in NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m2a_ros.images.cv_bridge_compat import CvBridgeError, cvtColorForDisplay

INF, NAN = np.inf, np.nan


def row(*values: float, dtype: type = np.float32) -> np.ndarray:
    return np.array([values], dtype)


def test_dynamic_scaling_leaves_out_what_is_not_finite() -> None:
    """cv_bridge/test/test_dynamic_scaling.cpp."""
    shown = cvtColorForDisplay(row(50, 100, 150, -INF, INF, NAN), "32FC1", "", do_dynamic_scaling=True)
    np.testing.assert_array_equal(shown[0], [[v] * 3 for v in (0, 128, 255, 0, 0, 0)])


def test_labels_have_the_colours_of_their_numbers() -> None:
    """cv_bridge/src/rgb_colors.cpp: its fractions times 255, cut."""
    colors = {
        0: (0.941, 0.973, 1),
        1: (0.98, 0.922, 0.843),
        10: (0.541, 0.169, 0.886),
        39: (0.58, 0, 0.827),
        110: (0.686, 0.933, 0.933),
        123: (0.98, 0.643, 0.376),
        145: (0.604, 0.804, 0.196),
        146: (0.941, 0.973, 1),
        -1: (0, 0, 0),
        -7: (0, 0, 0),
    }
    labels = row(*colors, dtype=np.int32)
    shown = cvtColorForDisplay(labels, "32SC1", "bgr8")
    np.testing.assert_array_equal(shown[0], [[int(v * 255) for v in color[::-1]] for color in colors.values()])
    np.testing.assert_array_equal(cvtColorForDisplay(labels, "32SC1", ""), shown)


def test_a_grid_of_labels_uses_the_whole_range() -> None:
    """cv_bridge/test/python_bindings.py."""
    labels = np.kron(np.arange(12, dtype=np.int32).reshape(3, 4), np.ones((16, 16), np.int32))
    shown = cvtColorForDisplay(labels, "32SC1", "bgr8")
    assert (shown.dtype, shown.min(), shown.max()) == (np.uint8, 0, 255)


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("8UC1", "u1"),
        ("8SC1", "i1"),
        ("16UC1", "u2"),
        ("16SC1", "i2"),
        ("32SC1", "i4"),
        ("32FC1", "f4"),
        ("64FC1", "f8"),
    ],
)
def test_values_between_two_are_scaled_and_those_beyond_saturate(encoding: str, code: str) -> None:
    values = np.array([[0, 3, 10, 40, 77, 100, 127]], code)
    shown = cvtColorForDisplay(values, encoding, "mono8", min_image_value=10, max_image_value=100)
    wanted = np.clip(np.rint((values.astype(float) - 10) * 255 / 90), 0, 255)
    np.testing.assert_array_equal(shown, wanted.astype(np.uint8))
    rgb = cvtColorForDisplay(values, encoding, "rgb8", min_image_value=10, max_image_value=100)
    np.testing.assert_array_equal(rgb, np.repeat(shown[..., None], 3, 2))


def test_the_difference_keeps_the_source_s_type() -> None:
    """OpenCV subtracts in uint8: 5 - 10.5 is 0, 12 - 10.5 rounds to 2."""
    shown = cvtColorForDisplay(row(5, 12, 110, dtype=np.uint8), "8UC1", "mono8", False, 10.5, 110.5)
    np.testing.assert_array_equal(shown, [[0, 5, 255]])


def test_a_range_upside_down_shows_the_negative() -> None:
    values = row(0, 25, 100, 200)
    np.testing.assert_array_equal(cvtColorForDisplay(values, "32FC1", "mono8", False, 100, 0), [[255, 191, 0, 0]])


def test_a_colormap_colours_scaled_values_and_leaves_nan_black() -> None:
    values = row(0, 50, 100, NAN)
    shown = cvtColorForDisplay(values, "32FC1", "bgr8", False, 0, 100, cv2.COLORMAP_JET)
    expected = cv2.applyColorMap(np.array([[0, 128, 255, 0]], np.uint8), cv2.COLORMAP_JET)
    expected[0, 3] = 0
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("encoding", ["bgr8", "mono8", "rgba8"])
def test_one_value_alone_is_grey_in_three_channels(encoding: str) -> None:
    shown = cvtColorForDisplay(row(7, 7), "32FC1", encoding, do_dynamic_scaling=True)
    np.testing.assert_array_equal(shown, np.full((1, 2, 3), 128, np.uint8))


def test_without_scaling_colours_are_converted_and_16_bits_without_colour_are_grey() -> None:
    rgb = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(cvtColorForDisplay(rgb, "rgb8", ""), rgb[..., ::-1])
    assert cvtColorForDisplay(rgb, "bgr8", "bgr8") is rgb
    np.testing.assert_array_equal(cvtColorForDisplay(row(257, 65535, dtype=np.uint16), "16UC1", "mono8"), [[1, 255]])


@pytest.mark.parametrize(
    ("source", "encoding", "out", "scaled"),
    [
        (np.zeros((2, 2), np.float32), "32FC1", "bgr8", False),
        (np.zeros((2, 2), np.uint8), "8UC1", "bgr8", False),
        (np.zeros((2, 2), np.float64), "64FC1", "", True),
        (np.zeros((2, 2), np.uint8), "mono8", "mono16", False),
        (np.zeros((2, 2), np.uint8), "mono8", "8UC1", False),
        (np.zeros((2, 2, 3), np.uint8), "rgb8", "bgr8", True),
        (np.zeros((2, 2), np.uint8), "mono9", "bgr8", False),
    ],
)
def test_what_cv_bridge_refuses_is_refused(source: np.ndarray, encoding: str, out: str, scaled: bool) -> None:
    with pytest.raises(CvBridgeError):
        cvtColorForDisplay(source, encoding, out, do_dynamic_scaling=scaled)
