"""Rectified images against projection formulas written out; crops that keep the aspect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from m2a_core.geometry.crop import Region, crop_to_aspect, place_back
from m2a_core.geometry.rectification import NotRectifiable, Rectifier
from m2a_core.perception import Perception
from m2a_core.types import PANOPTIC_VOID, UNLABELLED
from test.ros.messages import camera_info, frame, scene

WIDTH, HEIGHT = 320, 240
K = np.array([[200.0, 0, 150], [0, 210, 125], [0, 0, 1]])
P = np.array([[180.0, 0, 160], [0, 185, 120], [0, 0, 1]])
PLUMB_BOB = [-0.25, 0.08, 0.001, -0.002, -0.01]
RATIONAL = [0.3, -0.1, 0.001, 0.0005, 0.01, 0.5, -0.05, 0.02]
FISHEYE = [0.05, -0.01, 0.004, -0.001]


def turned(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def info_of(model: str, coefficients: list[float], rotation: np.ndarray, projection: np.ndarray = P) -> CameraInfo:
    return CameraInfo(
        width=WIDTH,
        height=HEIGHT,
        distortion_model=model,
        d=coefficients,
        k=K.ravel(),
        r=rotation.ravel(),
        p=np.column_stack([projection, np.zeros(3)]).ravel(),
    )


def distorted(x: np.ndarray, y: np.ndarray, model: str, d: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The lens, from its definition (REP-104; OpenCV's documentation of the models)."""
    r2 = x**2 + y**2
    if model == "equidistant":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent = theta * (1 + d[0] * theta**2 + d[1] * theta**4 + d[2] * theta**6 + d[3] * theta**8)
        scale = np.where(r > 0, bent / np.maximum(r, 1e-12), 1.0)
        return x * scale, y * scale
    k = [*d, *[0.0] * (8 - len(d))]
    radial = (1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3) / (1 + k[5] * r2 + k[6] * r2**2 + k[7] * r2**3)
    return (
        x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x**2),
        y * radial + k[2] * (r2 + 2 * y**2) + 2 * k[3] * x * y,
    )


def smooth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A picture that can be looked at between its pixels."""
    red, green, blue = 120 + 100 * np.sin(u / 23), 120 + 100 * np.cos(v / 19), 100 + 0.2 * u + 0.3 * v
    return np.stack([red, green, blue], axis=-1)


@pytest.mark.parametrize("angle", [0.0, 0.05])
@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", PLUMB_BOB),
        ("plumb_bob", PLUMB_BOB[:4]),
        ("rational_polynomial", RATIONAL),
        ("equidistant", FISHEYE),
        ("equidistant", [0.0] * 4),
        ("plumb_bob", []),
    ],
    ids=["plumb_bob 5", "plumb_bob 4", "rational", "fisheye", "ideal fisheye", "no distortion"],
)
def test_every_pixel_shows_what_its_ray_meets(model: str, d: list[float], angle: float) -> None:
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    taken = np.rint(smooth(columns, rows)).astype(np.uint8)
    rectified = Rectifier().apply(taken, info_of(model, d, turned(angle)))
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(P).T @ turned(angle)
    x, y = distorted(rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2], model, d)
    u, v = K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]
    inside = (u > 0) & (u < WIDTH - 1) & (v > 0) & (v < HEIGHT - 1)
    assert inside.mean() > 0.5
    error = np.abs(rectified.astype(float) - smooth(u, v))[inside]
    assert error.max() < 2.5
    assert error.mean() < 0.6


def test_without_distortion_and_with_k_for_p_the_image_is_left_alone() -> None:
    image = scene(None, (HEIGHT, WIDTH))
    assert Rectifier().apply(image, info_of("plumb_bob", [0.0] * 5, np.eye(3), K)) is image
    assert Rectifier().apply(image, camera_info(WIDTH, HEIGHT, 200.0)) is image


def test_a_new_camera_info_is_used_from_the_next_image_on() -> None:
    image, rectifier = scene((40, 40, 200, 200), (HEIGHT, WIDTH)), Rectifier()
    strong, weak = (info_of("plumb_bob", [k, 0.0, 0.0, 0.0], np.eye(3), K) for k in (-0.3, -0.001))
    first = rectifier.apply(image, strong)
    assert (rectifier.apply(image, weak) != first).any()
    np.testing.assert_array_equal(rectifier.apply(image, strong), first)


def test_an_image_resized_with_its_aspect_is_rectified_by_the_scaled_calibration() -> None:
    info = info_of("plumb_bob", PLUMB_BOB, np.eye(3))
    columns, rows = np.meshgrid(np.arange(2 * WIDTH) / 2 - 0.25, np.arange(2 * HEIGHT) / 2 - 0.25)
    large = Rectifier().apply(np.rint(smooth(columns, rows)).astype(np.uint8), info)
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    small = Rectifier().apply(np.rint(smooth(columns, rows)).astype(np.uint8), info)
    mean = large.reshape(HEIGHT, 2, WIDTH, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(mean - small)[20:-20, 20:-20].max() < 2.5


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (None, "no_camera_info"),
        (CameraInfo(width=WIDTH, height=HEIGHT), "bad_camera_info"),
        (camera_info(WIDTH, HEIGHT // 2, 200.0), "camera_info_of_other_aspect"),
        (camera_info(0, 0, 200.0), "camera_info_of_other_aspect"),
        (CameraInfo(width=WIDTH, height=HEIGHT, k=K.ravel(), d=[0.1] * 3), "bad_camera_info"),
        (info_of("plumb_bob", [float("nan")] * 5, np.eye(3)), "bad_camera_info"),
    ],
    ids=["none", "uncalibrated", "other aspect", "no size", "three coefficients", "not a number"],
)
def test_images_without_a_calibration_are_refused_by_reason(info: CameraInfo | None, reason: str) -> None:
    with pytest.raises(NotRectifiable) as caught:
        Rectifier().apply(scene(None, (HEIGHT, WIDTH)), info)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("size", "center", "want"),
    [
        ((1080, 1920), 0.5, Region(0, 60, 1920, 960)),
        ((1080, 1920), 1.0, Region(0, 120, 1920, 960)),
        ((1080, 1920), 0.0, Region(0, 0, 1920, 960)),
        ((500, 2000), 0.5, Region(500, 0, 1000, 500)),
        ((512, 1024), 0.3, Region(0, 0, 1024, 512)),
        ((1, 1), 0.5, Region(0, 0, 1, 1)),
    ],
)
def test_crops_have_the_network_s_aspect_and_lie_where_asked(
    size: tuple[int, int], center: float, want: Region
) -> None:
    assert crop_to_aspect(size, (512, 1024), center) == want


def test_a_crop_s_result_comes_back_to_its_place(tiny: object) -> None:
    perception = Perception.load(str(tiny))
    rgb = scene((56, 64, 72, 80), (160, 128))
    rgb[:96] = (0, 0, 255)
    rgb[96:] = (0, 255, 0)
    rgb[100:116, 56:72] = (255, 0, 0)
    region = crop_to_aspect((160, 128), (96, 128), 1.0)
    assert region == Region(0, 64, 128, 96)
    inner = perception.infer(frame(region.cut(rgb)))
    assert inner.open_set is not None
    inner = replace(inner, candidate_map=np.ones(inner.open_set.shape, np.int32))
    whole = place_back(inner, region, (160, 128))
    assert whole.open_set is not None
    assert whole.candidate_map is not None
    assert whole.candidate_map[64:].all()
    assert not whole.candidate_map[:64].any()
    np.testing.assert_array_equal(whole.open_set[64:], inner.open_set)
    assert (whole.open_set[:64] == UNLABELLED).all()
    assert whole.panoptic is not None
    assert (whole.panoptic[:64] == PANOPTIC_VOID).all()
    assert whole.anomaly is not None
    assert not whole.anomaly[:64].any()
    (instance,) = whole.instances
    assert whole.unknown_instances is not None
    rows, columns = np.nonzero(whole.unknown_instances == instance.id)
    assert instance.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert instance.contour[:, 1].max() == rows.max()
    assert 64 < instance.contact[1] <= 160
