from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from m2a_core.errors import DataError
from m2a_core.geometry.intrinsics import CalibrationReader, Intrinsics
from m2a_core.geometry.lens import directions
from m2a_core.geometry.projection import CameraPose, GroundProjector, Mounting
from test.ros.messages import camera_info

MATRIX = np.array([[500.0, 0, 320], [0, 480, 240], [0, 0, 1]])
RNG = np.random.default_rng(0)

LENSES = {
    "none": ("plumb_bob", []),
    "zeros": ("plumb_bob", [0.0] * 5),
    "plumb_bob": ("plumb_bob", [-0.28, 0.09, 0.001, -0.0008, -0.01]),
    "plumb_bob of 4": ("plumb_bob", [-0.25, 0.08, 0.001, -0.0008]),
    "barrel": ("plumb_bob", [0.2, 0.05, 0.0, 0.0, 0.0]),
    "thin prism": (
        "rational_polynomial",
        [0.4, 0.1, 0.0004, -0.0002, 0.01, 0.8, 0.2, 0.03, 0.002, -0.001, 0.0015, 0.0005],
    ),
    "rational_polynomial": ("rational_polynomial", [0.4, 0.1, 0.0004, -0.0002, 0.01, 0.8, 0.2, 0.03]),
    "equidistant": ("equidistant", [-0.02, 0.01, -0.004, 0.0006]),
}


def info(model: str, coefficients: list[float]) -> CameraInfo:
    return CameraInfo(width=640, height=480, distortion_model=model, d=coefficients, k=MATRIX.ravel())


def distort(x: np.ndarray, y: np.ndarray, model: str, d: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The lens models as REP-104 and OpenCV's documentation write them."""
    if not d:
        return x, y
    if model == "equidistant":
        r = np.hypot(x, y)
        theta = np.arctan(r)
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(d)))
        return x * bent / r, y * bent / r
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = (*d, *[0.0] * (12 - len(d)))
    r2 = x**2 + y**2
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2) + s1 * r2 + s2 * r2**2,
        y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y + s3 * r2 + s4 * r2**2,
    )


def pixels_of(points: np.ndarray, mounting: Mounting, model: str, d: list[float]) -> np.ndarray:
    """Project points of the base frame into the image, by hand: yaw, pitch and roll undone one after another."""
    forward, left, up = (points - [mounting.x, mounting.y, mounting.height]).T
    forward, left = (
        forward * np.cos(mounting.yaw) + left * np.sin(mounting.yaw),
        left * np.cos(mounting.yaw) - forward * np.sin(mounting.yaw),
    )
    forward, up = (
        forward * np.cos(mounting.pitch) - up * np.sin(mounting.pitch),
        up * np.cos(mounting.pitch) + forward * np.sin(mounting.pitch),
    )
    left, up = (
        left * np.cos(mounting.roll) + up * np.sin(mounting.roll),
        up * np.cos(mounting.roll) - left * np.sin(mounting.roll),
    )
    x, y = distort(-left / forward, -up / forward, model, d)
    return np.column_stack([500 * x + 320, 480 * y + 240])


MOUNTINGS = {
    "level": Mounting(height=1.2),
    "pitched": Mounting(height=2.0, pitch=0.15),
    "rolled": Mounting(height=1.6, roll=-0.4, pitch=0.05),
    "all": Mounting(x=1.7, y=-0.4, height=1.9, roll=0.05, pitch=0.12, yaw=-0.3),
}


@pytest.mark.parametrize("mounting", MOUNTINGS.values(), ids=MOUNTINGS.keys())
@pytest.mark.parametrize(("model", "d"), LENSES.values(), ids=LENSES.keys())
def test_ground_points_come_back_from_their_pixels(model: str, d: list[float], mounting: Mounting) -> None:
    ahead, side = RNG.uniform(5, 40, 200), RNG.uniform(-0.7, 0.7, 200)
    heading = mounting.yaw + side
    points = np.column_stack(
        [mounting.x + ahead * np.cos(heading), mounting.y + ahead * np.sin(heading), np.zeros_like(ahead)]
    )
    pixels = pixels_of(points, mounting, model, d)
    found = GroundProjector(Intrinsics.from_camera_info(info(model, d)), mounting).ground(pixels)
    np.testing.assert_allclose(found, points, rtol=1e-3, atol=1e-3)


def test_level_camera_sees_the_ground_where_similar_triangles_say() -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5))
    np.testing.assert_allclose(
        projector.ground(np.array([[320.0, 290.0], [420.0, 340.0]])), [[15, 0, 0], [7.5, -1.5, 0]]
    )


@pytest.mark.parametrize("y", [240.0, 239.0, 0.0])
def test_at_and_above_the_horizon_there_is_no_ground(y: float) -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5))
    assert np.isnan(projector.ground(np.array([[320.0, y]]))).all()


def test_looking_down_moves_the_horizon_up() -> None:
    intrinsics = Intrinsics.from_camera_info(camera_info(640, 480, 500.0))
    at_old_horizon = GroundProjector(intrinsics, Mounting(height=1.5, pitch=0.1)).ground(np.array([[320.0, 240.0]]))
    np.testing.assert_allclose(at_old_horizon, [[1.5 / np.tan(0.1), 0, 0]])


@pytest.mark.parametrize(("roll", "side"), [(np.pi / 2, 1), (-np.pi / 2, -1)])
def test_camera_on_its_side_sees_the_ground_in_the_image_s_columns(roll: float, side: int) -> None:
    projector = GroundProjector(
        Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=2, roll=roll)
    )
    # 100 px towards the ground: 2 * 500 / 100 m ahead; 50 px along the horizon: a tenth of that to the side.
    np.testing.assert_allclose(projector.ground(np.array([[320 + side * 100.0, 240.0]])), [[10, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(projector.ground(np.array([[320 + side * 100.0, 290.0]])), [[10, side, 0]], atol=1e-9)
    assert np.isnan(projector.ground(np.array([[320 - side * 1.0, 240.0]]))).all()


def test_roll_tilts_the_horizon() -> None:
    roll = 0.2
    projector = GroundProjector(
        Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5, roll=roll)
    )
    x = np.array([0.0, 100.0, 320.0, 500.0, 639.0])
    # The right side is lower, so the horizon lies higher in the image there.
    horizon = 240 - np.tan(roll) * (x - 320)
    assert np.isnan(projector.ground(np.column_stack([x, horizon - 0.01]))).all()
    assert np.isfinite(projector.ground(np.column_stack([x, horizon + 0.01]))).all()


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (427, 320), (213, 160)])
@pytest.mark.parametrize("lens", ["none", "plumb_bob", "equidistant"])
def test_calibration_follows_an_image_that_was_resized(size: tuple[int, int], lens: str) -> None:
    whole = Intrinsics.from_camera_info(info(*LENSES[lens]))
    resized = whole.fitted(size)
    assert resized is not None
    pixels = RNG.uniform((50, 50), (590, 430), (50, 2))
    # Edges stay edges: the first pixel begins at -0.5 in both images.
    in_resized = (pixels + 0.5) * np.array(size) / (640, 480) - 0.5
    np.testing.assert_allclose(resized.rays(in_resized), whole.rays(pixels), atol=1e-6)


@pytest.mark.parametrize("size", [(640, 360), (480, 480), (480, 640), (640, 482)])
def test_calibration_of_another_aspect_does_not_fit(size: tuple[int, int]) -> None:
    assert Intrinsics.from_camera_info(info("plumb_bob", [])).fitted(size) is None
    assert Intrinsics.from_camera_info(of_size(0, 0)).fitted(size) is None


def of_size(width: int, height: int) -> CameraInfo:
    return CameraInfo(width=width, height=height, k=MATRIX.ravel())


def test_region_of_interest_and_binning_are_undone() -> None:
    message = info("plumb_bob", [])
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 60, 400, 300
    message.binning_x = message.binning_y = 2
    cut = Intrinsics.from_camera_info(message)
    assert cut.size == (200, 150)
    # The first binned pixel covers the sensor's pixels 100 and 101, 60 and 61.
    whole = Intrinsics.from_camera_info(info("plumb_bob", []))
    np.testing.assert_allclose(cut.rays(np.array([[0.0, 0.0]])), whole.rays(np.array([[100.5, 60.5]])))


def bounds_of(projector: GroundProjector, pixel: tuple[float, float], pixel_error: float) -> tuple[float, float]:
    (near,), (far,), _ = projector.bounds(np.array([pixel]), pixel_error)
    return float(near), float(far)


def test_bounds_of_a_level_camera_are_those_of_similar_triangles() -> None:
    mounting = Mounting(height=1.5, pitch_uncertainty=0.0)
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), mounting)
    near, far = bounds_of(projector, (320.0, 290.0), 2.0)
    # Nearest 52 px and farthest 48 px below the horizon; 2 px to the side add or take next to nothing.
    assert near == pytest.approx(1.5 * 500 / 52, rel=1e-4)
    assert far == pytest.approx(1.5 * 500 / 48, rel=1e-4)
    assert bounds_of(projector, (320.0, 241.0), 2.0)[1] == np.inf
    tilting = GroundProjector(projector.intrinsics, replace(mounting, pitch_uncertainty=0.02))
    below = np.arctan(0.1)
    bounds = bounds_of(tilting, (320.0, 290.0), 0.0)
    np.testing.assert_allclose(bounds, [1.5 / np.tan(below + 0.02), 1.5 / np.tan(below - 0.02)])


@given(
    ahead=st.floats(3, 50),
    side=st.floats(-0.5, 0.5),
    roll=st.floats(-0.3, 0.3),
    pitch=st.floats(0, 0.3),
    tilt=st.floats(-1, 1),
    x_error=st.floats(-1, 1),
    y_error=st.floats(-1, 1),
    lens=st.sampled_from(sorted(LENSES)),
)
def test_bounds_hold_the_true_distance(
    ahead: float, side: float, roll: float, pitch: float, tilt: float, x_error: float, y_error: float, lens: str
) -> None:
    supposed = Mounting(height=1.5, roll=roll, pitch=pitch, pitch_uncertainty=0.015)
    true = replace(supposed, pitch=pitch + 0.015 * tilt)
    point = np.array([[ahead * np.cos(side), ahead * np.sin(side), 0.0]])
    pixel = pixels_of(point, true, *LENSES[lens])[0] + 1.5 * np.array([x_error, y_error])
    projector = GroundProjector(Intrinsics.from_camera_info(info(*LENSES[lens])), supposed)
    if np.isnan(projector.ground(pixel[None])).any():
        return  # Seen above the horizon: there is nothing to bound.
    near, far = bounds_of(projector, (pixel[0], pixel[1]), 1.5)
    assert near * (1 - 1e-3) <= ahead <= far * (1 + 1e-3)


def turned(angle: float) -> np.ndarray:
    """A rotation about the optical frame's x axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@pytest.mark.parametrize("lens", ["plumb_bob", "equidistant"])
def test_raw_and_rectified_image_agree_on_where_an_object_is(lens: str) -> None:
    message = info(*LENSES[lens])
    message.r = turned(0.02).ravel()
    message.p = [450.0, 0, 330, -45.0, 0, 440, 250, 0, 0, 0, 1, 0]
    raw, rectified = (GroundProjector(Intrinsics.from_camera_info(message, r), MOUNTINGS["all"]) for r in (False, True))
    pixels = RNG.uniform((100, 300), (540, 440), (50, 2))
    # Pixel of the raw image -> ray of the camera -> turned by R -> P without its shift -> pixel of the rectified image.
    lens_of = raw.intrinsics
    rays = directions(pixels, lens_of.matrix, lens_of.model, lens_of.distortion) @ turned(0.02).T
    there = np.column_stack([450 * rays[:, 0] / rays[:, 2] + 330, 440 * rays[:, 1] / rays[:, 2] + 250])
    np.testing.assert_allclose(rectified.ground(there), raw.ground(pixels), rtol=1e-6)


def test_rectification_that_says_nothing_is_none_and_a_wrong_one_is_refused() -> None:
    message = info("plumb_bob", [])
    message.r = np.zeros(9)
    np.testing.assert_array_equal(Intrinsics.from_camera_info(message).rotation, np.eye(3))
    # Many drivers leave P zero as well: a rectified image then follows K.
    np.testing.assert_array_equal(Intrinsics.from_camera_info(message, rectified=True).matrix, MATRIX)
    message.p = np.full(12, np.nan)
    with pytest.raises(DataError, match="P is"):
        Intrinsics.from_camera_info(message, rectified=True)
    message.r = 2 * np.eye(3).ravel()
    with pytest.raises(DataError, match="R is"):
        Intrinsics.from_camera_info(message)


def test_the_ground_lies_where_the_parameter_puts_it() -> None:
    intrinsics = Intrinsics.from_camera_info(camera_info(640, 480, 500.0))
    # base_link 0.35 m above the ground; the camera 1.15 m above base_link.
    pose = CameraPose(np.array([0, 0, 1.15]), Mounting().pose().rotation)
    projector = GroundProjector(intrinsics, Mounting(), pose, -0.35)
    np.testing.assert_allclose(projector.ground(np.array([[320.0, 290.0]])), [[15, 0, -0.35]])
    assert projector.height == pytest.approx(1.5)


def test_a_camera_below_the_ground_or_looking_backwards_up_sees_none() -> None:
    intrinsics = Intrinsics.from_camera_info(camera_info(640, 480, 500.0))
    below = GroundProjector(intrinsics, Mounting(), CameraPose(np.array([0, 0, -0.1]), Mounting().pose().rotation))
    assert np.isnan(below.ground(np.array([[320.0, 290.0], [320.0, 190.0]]))).all()
    # Upside down: what was the ground is the sky.
    overhead = GroundProjector(intrinsics, Mounting(height=1.5, roll=np.pi))
    assert np.isnan(overhead.ground(np.array([[320.0, 290.0]]))).all()


def test_pixels_beyond_the_lens_model_have_no_ray() -> None:
    strong = Intrinsics.from_camera_info(info("plumb_bob", [-0.4, 0.0, 0.0, 0.0, 0.0]))
    # The radial polynomial r(1 - 0.4 r^2) peaks at r = 0.913 with 0.61: no ray lands beyond 0.61 * 500 px.
    assert np.isfinite(strong.rays(np.array([[320 + 250.0, 240.0]]))).all()
    assert np.isnan(strong.rays(np.array([[320 + 500.0, 240.0]]))).all()


def test_upright_points_share_the_foot_s_plane_and_pixels() -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), MOUNTINGS["all"])
    foot = projector.ground(np.array([[350.0, 400.0]]))[0]
    pixels = np.array([[350.0, 400.0], [340.0, 250.0], [380.0, 100.0]])
    upright = projector.upright(pixels, foot)
    np.testing.assert_allclose(upright[0], foot, atol=1e-9)
    toward = (foot - projector.position) * [1, 1, 0]
    np.testing.assert_allclose((upright - foot) @ toward, 0, atol=1e-9)
    assert (np.diff(upright[:, 2]) > 0).all()
    rays = projector.rays(pixels)
    np.testing.assert_allclose(np.cross(upright - projector.position, rays), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (CameraInfo(width=640, height=480), "uncalibrated"),
        (CameraInfo(width=640, height=480, k=[float("nan")] * 9), "uncalibrated"),
        (CameraInfo(width=640, binning_x=2, binning_y=2, k=[500.0, 0, 320, 0, 500, 240, 0, 0, 1]), "640x0"),
        (info("plumb_bob", [0.1, 0.2]), "2 coefficients"),
        (info("double_sphere", [0.1, 0.2, 0.3, 0.4, 0.5]), "double_sphere"),
    ],
)
def test_calibrations_that_say_nothing_are_refused(broken: CameraInfo, named: str) -> None:
    with pytest.raises(DataError, match=named):
        Intrinsics.from_camera_info(broken)


def test_the_near_bound_of_what_may_lie_below_the_camera_is_zero() -> None:
    downwards = GroundProjector(Intrinsics.from_camera_info(info("plumb_bob", [])), Mounting(pitch=np.pi / 2 - 0.001))
    near, far = bounds_of(downwards, (320.0, 240.0), 2.0)
    assert near == 0.0
    assert far > 0.0


@pytest.mark.parametrize("x", [40.0, 320.0, 600.0])
def test_the_bearing_s_spread_is_the_larger_of_both_sides(x: float) -> None:
    level = GroundProjector(Intrinsics.from_camera_info(info("plumb_bob", [])), Mounting())
    left, middle, right = (np.arctan2(x + e - 320, 500) for e in (-20, 0, 20))
    *_, spreads = level.bounds(np.array([[x, 300.0], [320.0, 300.0]]), 20.0)
    assert spreads[0] == pytest.approx(max(middle - left, right - middle), rel=1e-9)


def test_pixels_that_look_away_from_an_upright_plane_meet_it_nowhere() -> None:
    level = GroundProjector(Intrinsics.from_camera_info(info("plumb_bob", [])), Mounting())
    pixels = np.array([[320.0, 240.0], [10.0, 300.0]])
    assert np.isnan(level.upright(pixels, np.array([-10.0, 0.0, 0.0]))).all()
    assert np.isfinite(level.upright(pixels, np.array([10.0, 0.0, 0.0]))).all()


def test_a_calibration_is_read_anew_where_message_size_or_rectification_is_another() -> None:
    reader, first, second = CalibrationReader(), camera_info(640, 480, 500.0), camera_info(640, 480, 600.0)
    found = [
        reader.read(message, rectified, size)
        for message, rectified, size in [
            (first, False, (640, 480)),
            (first, False, (1280, 960)),
            (second, False, (1280, 960)),
            (second, True, (1280, 960)),
            (second, True, (640, 100)),
            (first, False, (640, 480)),
        ]
    ]
    focal = [None if item is None else float(item.matrix[0, 0]) for item in found]
    assert focal == [500.0, 1000.0, 1200.0, 1200.0, None, 500.0]


def test_a_calibration_that_cannot_be_read_is_refused_each_time() -> None:
    reader, broken = CalibrationReader(), CameraInfo(width=640, height=480)
    assert reader.read(camera_info(640, 480, 500.0), False, (640, 480)) is not None
    for _ in range(2):
        with pytest.raises(DataError, match="uncalibrated"):
            reader.read(broken, False, (640, 480))
