"""Every lens model of sensor_msgs against OpenCV's projection of the same rays, zeros and wide angles included."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from m2a_core.errors import DataError
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.lens import directions
from m2a_core.geometry.rectification import Rectifier, rectified_info

K = np.array([[400.0, 0, 320], [0, 380, 240], [0, 0, 1]])
RAYS = np.column_stack([np.random.default_rng(5).uniform(-0.6, 0.6, (200, 2)), np.ones(200)])
BROWN = [0.1, 0.02, 0.001, -0.0008, -0.01, 0.05, 0.01, 0.002, 0.002, -0.001, 0.0015, 0.0005, 0.01, -0.02]
LENSES = [
    *(("plumb_bob", BROWN[:n]) for n in (4, 5)),
    *(("rational_polynomial", BROWN[:n]) for n in (5, 8, 12, 14)),
    *((model, [0.0] * n) for model, n in (("plumb_bob", 5), ("rational_polynomial", 8), ("", 5), ("", 0))),
    ("plumb_bob", []),
    ("equidistant", [-0.02, 0.01, -0.004, 0.0006]),
    ("fisheye", [0.1, 0.05, 0.01, 0.0]),
    ("equidistant", [0.0] * 4),
]


def info_of(model: str, d: list[float]) -> CameraInfo:
    return CameraInfo(width=640, height=480, distortion_model=model, d=d, k=K.ravel())


def opencv_pixels(rays: np.ndarray, model: str, d: list[float]) -> np.ndarray:
    none = np.zeros(3)
    if model in ("equidistant", "fisheye"):
        return cv2.fisheye.projectPoints(rays[:, None], none, none, K, np.array(d))[0][:, 0]
    return cv2.projectPoints(rays[:, None], none, none, K, np.array(d))[0][:, 0]


@pytest.mark.parametrize(("model", "d"), LENSES, ids=lambda value: str(value) if isinstance(value, str) else len(value))
def test_pixels_look_where_opencv_projects_from(model: str, d: list[float]) -> None:
    found = Intrinsics.from_camera_info(info_of(model, d)).rays(opencv_pixels(RAYS, model, d))
    np.testing.assert_allclose(found, RAYS, atol=2e-4)


def test_a_fisheye_without_coefficients_is_a_fisheye() -> None:
    pixel = np.array([[320.0 + 400.0, 240.0]])
    for model, degrees in (("equidistant", np.rad2deg(1.0)), ("plumb_bob", 45.0)):
        for zeros in ([0.0] * 4, [0.0] * 5, []):
            x, _, z = Intrinsics.from_camera_info(info_of(model, zeros)).rays(pixel)[0]
            assert np.rad2deg(np.arctan2(x, z)) == pytest.approx(degrees)


@pytest.mark.parametrize("zeros", [[0.0] * 4, []], ids=len)
def test_a_fisheye_without_coefficients_is_rectified(zeros: list[float]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    info = info_of("equidistant", zeros)
    want = cv2.fisheye.undistortImage(image, K, np.zeros(4), Knew=K)
    np.testing.assert_array_equal(Rectifier().apply(image, info), want)
    straight = Intrinsics.from_camera_info(rectified_info(info))
    np.testing.assert_allclose(straight.rays(np.array([[720.0, 240.0]])), [[1, 0, 1]])


# The radius nearly that of an ideal fisheye, atan(r) by Pade; a strong barrel; a lens that stretches its edges.
WIDE = {
    "fisheye-like": ("rational_polynomial", [7 / 9, 64 / 945, 0.0, 0.0, 0.0, 10 / 9, 5 / 21, 0.0], 80.0),
    "barrel": ("plumb_bob", [-0.33, 0.11, 0.0005, -0.0003, -0.017], 54.0),
    "pincushion": ("plumb_bob", [0.35, 0.25, -0.0004, 0.0006, 0.1], 42.0),
    "thin prism": ("rational_polynomial", [1.2, 0.2, 1e-3, -1e-3, 0.0, 1.5, 0.4, 0.01, 2e-3, 1e-3, -2e-3, 1e-3], 60.0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WIDE)
def test_the_edges_of_wide_lenses_have_directions_too(name: str) -> None:
    model, d, widest = WIDE[name]
    angles, around = (g.ravel() for g in np.meshgrid(np.deg2rad(np.linspace(0, widest, 81)), np.linspace(0, 6.2, 24)))
    rays = np.column_stack([np.tan(angles) * np.cos(around), np.tan(angles) * np.sin(around), np.ones(angles.size)])
    found = directions(opencv_pixels(rays, model, d), K, model, np.array(d))
    off = np.arccos(
        np.clip((found * rays).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(rays, axis=1), -1, 1)
    )
    assert np.rad2deg(off).max() < 0.1


@pytest.mark.filterwarnings("error")
def test_pixels_beyond_the_turning_point_of_a_pinhole_model_have_no_direction() -> None:
    # r (1 - 0.3 r^2) peaks at r = 1.054 with 0.703 and is negative from r = 1.826 on: mirrored pixels have a ray there.
    d = np.array([-0.3, 0.0, 0.0, 0.0])
    pixels = K[:2, 2] + np.array([[0.69 * 400, 0], [0.72 * 400, 0], [40 * 400, 0], [-3 * 400, 380.0]])
    inside, *outside = directions(pixels, K, "plumb_bob", d)
    assert inside[0] * (1 - 0.3 * inside[0] ** 2) == pytest.approx(0.69, abs=1e-3)
    assert 0 < inside[0] < 1.054
    assert np.isnan(outside).any(axis=1).all()


@given(angle=st.floats(0.0, 2.4), around=st.floats(0, 6.28), first=st.floats(-0.02, 0.1), second=st.floats(0.0, 0.02))
def test_a_fisheye_looks_sideways_and_back(angle: float, around: float, first: float, second: float) -> None:
    d = np.array([first, second, 0.0, 0.0])
    radius = angle * (1 + first * angle**2 + second * angle**4)
    pixel = K[:2, 2] + radius * K[[0, 1], [0, 1]] * (np.cos(around), np.sin(around))
    ray = directions(pixel[None], K, "equidistant", d)[0]
    side = np.sin(angle)
    want = np.array([side * np.cos(around), side * np.sin(around), np.cos(angle)])
    np.testing.assert_allclose(ray / np.linalg.norm(ray), want, atol=1e-5)


def test_pixels_beyond_a_fisheye_s_turning_point_have_no_direction() -> None:
    # a (1 - 0.1 a^2) peaks at a = 1.826 with 1.217.
    d = np.array([-0.1, 0.0, 0.0, 0.0])
    pixels = K[:2, 2] + np.array([[1.21 * 400, 0], [1.23 * 400, 0]])
    inside, outside = directions(pixels, K, "equidistant", d)
    assert np.isfinite(inside).all()
    assert np.isnan(outside).all()


@pytest.mark.filterwarnings("error")
def test_where_a_fisheye_s_polynomial_rises_once_more_it_says_nothing() -> None:
    # Falls from 1.59 rad on, where it is 1.506, and is that again at 2.9 rad.
    d = np.array([0.11693779, -0.03293561, -0.01284375, 0.00170674])
    radii = np.linspace(1.507, 1.6, 20001)
    pixels = K[:2, 2] + np.column_stack([400 * radii, np.zeros_like(radii)])
    assert np.isnan(directions(pixels, K, "equidistant", d)).all()


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("", [0.1, 0.01, 0.0, 0.0]),
        ("division", [0.0]),
        ("kannala_brandt", [0.0] * 4),
        ("double_sphere", []),
        ("plumb_bob", [0.1, 0.2, 0.0]),
        ("rational_polynomial", [0.1] * 7),
        ("equidistant", [0.1, 0.2]),
        ("equidistant", [0.1, 0.0, 0.0, 0.0, 0.2]),
    ],
)
def test_a_model_that_is_not_known_is_refused_whatever_its_coefficients(model: str, d: list[float]) -> None:
    with pytest.raises(DataError, match=f"'{model}' with {len(d)} coefficients"):
        Intrinsics.from_camera_info(info_of(model, d))


def test_zeros_that_fill_up_a_fisheye_s_coefficients_count_for_nothing() -> None:
    padded = Intrinsics.from_camera_info(info_of("equidistant", [0.1, 0.05, 0.01, 0.002, 0.0, 0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(padded.distortion, [0.1, 0.05, 0.01, 0.002])


@pytest.mark.parametrize("field", ["k", "p"])
def test_skew_is_refused_and_not_ignored(field: str) -> None:
    skewed = K.copy()
    skewed[0, 1] = 2.0
    value = skewed.ravel() if field == "k" else np.column_stack([skewed, np.zeros(3)]).ravel()
    message = info_of("plumb_bob", [])
    setattr(message, field, value)
    with pytest.raises(DataError, match="skew of 2"):
        Intrinsics.from_camera_info(message, rectified=field == "p")
