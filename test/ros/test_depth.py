from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import Image

from m2a_core.errors import DataError
from m2a_core.geometry.depth import DepthReading, depth_in_metres, object_depth
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.localization import localize
from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_core.stream.sensors import DepthBuffer
from m2a_core.types import UnknownInstance
from test.ros.messages import camera_info


def message(values: np.ndarray, encoding: str, big: bool = False, padding: int = 0) -> Image:
    raw = values.astype(values.dtype.newbyteorder(">" if big else "<"))
    rows = raw.view(np.uint8).reshape(len(values), -1)
    data = np.hstack([rows, np.full((len(values), padding), 0xAA, np.uint8)])
    height, width = values.shape
    return Image(
        height=height, width=width, encoding=encoding, is_bigendian=int(big), step=data.shape[1], data=data.tobytes()
    )


MILLIMETRES = np.array([[0, 1500, 65535], [12, 1, 0]], np.uint16)
METRES = np.array([[np.nan, 1.5, np.inf], [0.0, -1.0, 250.0]], np.float32)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 8])
def test_both_units_become_metres_and_holes_become_nan(big: bool, padding: int) -> None:
    np.testing.assert_allclose(
        depth_in_metres(message(MILLIMETRES, "16UC1", big, padding)), [[np.nan, 1.5, 65.535], [0.012, 0.001, np.nan]]
    )
    np.testing.assert_allclose(
        depth_in_metres(message(METRES, "32FC1", big, padding)), [[np.nan, 1.5, np.nan], [np.nan, np.nan, 250.0]]
    )


def broken(**fields: object) -> Image:
    made = message(MILLIMETRES, "16UC1")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (broken(encoding="rgb8"), "rgb8"),
        (broken(data=b"\0" * 11), "11"),
        (broken(step=4), "step of 4"),
        (broken(step=7), "step of 7"),
        (broken(height=0), "3x0"),
    ],
)
def test_what_is_no_depth_image_is_refused(bad: Image, named: str) -> None:
    with pytest.raises(DataError, match=named):
        depth_in_metres(bad)


def test_the_depth_image_nearest_in_time_is_taken_within_the_tolerance() -> None:
    buffer = DepthBuffer()
    assert buffer.nearest(0, 1.0) is None
    for stamp in (1_000_000_000, 1_033_000_000, 1_066_000_000):
        buffer.put(stamp, stamp)
    assert buffer.nearest(1_040_000_000, 0.05) == 1_033_000_000
    assert buffer.nearest(1_066_000_000, 0.0) == 1_066_000_000
    assert buffer.nearest(2_000_000_000, 0.05) is None


def test_of_depth_images_stamped_alike_the_latest_is_taken() -> None:
    buffer = DepthBuffer()
    for number in range(12):
        buffer.put(0, number)
    assert buffer.nearest(0, 0.05) == 11


def seen(box: tuple[int, int, int, int], number: int = 3) -> tuple[UnknownInstance, np.ndarray]:
    x0, y0, x1, y1 = box
    ids = np.zeros((480, 640), np.uint16)
    ids[y0:y1, x0:x1] = number
    contour = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
    return UnknownInstance(number, 0.9, 1, box, contour, ((x0 + x1 - 1) / 2, y1 - 1.0)), ids


@pytest.mark.parametrize("size", [(480, 640), (240, 320), (120, 160), (720, 960)])
def test_an_object_s_depth_is_its_own_at_any_resolution(size: tuple[int, int]) -> None:
    instance, ids = seen((300, 200, 340, 280))
    depth = np.full(size, 50.0, np.float32)
    rows, cols = size[0] / 480, size[1] / 640
    depth[int(200 * rows) : int(280 * rows), int(300 * cols) : int(340 * cols)] = 8.0
    reading = object_depth(instance, ids, depth)
    assert reading == DepthReading(8.0, 8.0, 8.0)


def test_holes_do_not_count_and_too_many_leave_nothing() -> None:
    instance, ids = seen((300, 200, 340, 280))
    depth = np.full((480, 640), np.nan, np.float32)
    assert object_depth(instance, ids, depth) is None
    depth[200:280, 300:303] = 8.0  # 3 of 40 columns are known: less than a tenth.
    assert object_depth(instance, ids, depth) is None
    depth[200:280, 300:320] = 8.0
    assert object_depth(instance, ids, depth) == DepthReading(8.0, 8.0, 8.0)


@pytest.mark.parametrize(
    "mounting", [Mounting(height=1.5), Mounting(x=1.0, y=0.5, height=2.0, roll=0.1, pitch=0.2, yaw=0.3)]
)
def test_depth_and_ground_agree_on_what_stands_on_the_ground(mounting: Mounting) -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), mounting)
    instance, _ = seen((300, 200, 340, 420))
    on_ground = projector.ground(np.array([instance.contact]))[0]
    depth = float((projector.pose.rotation.T @ (on_ground - projector.position))[2])
    (placed,) = localize([instance], projector, 60.0, 1.0, [DepthReading(depth, depth, depth)])
    assert placed is not None
    np.testing.assert_allclose(placed.position, on_ground, atol=1e-9)


def test_what_hangs_above_the_horizon_has_a_place_by_depth_alone() -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5))
    instance, _ = seen((300, 100, 340, 191))
    assert localize([instance], projector, 60.0, 1.0) == [None]
    (placed,) = localize([instance], projector, 60.0, 1.0, [DepthReading(9.0, 10.0, 12.0)])
    assert placed is not None
    # Its lowest row is 50 px above the horizon: a tenth of 10 m above the camera.
    np.testing.assert_allclose(placed.position[[0, 2]], [10.0, 2.5])
    # From the point below the camera to the side of the optical axis it is hardly farther than along it.
    np.testing.assert_allclose(placed.bounds, [9.0, 12.0], rtol=1e-3)
    np.testing.assert_allclose(placed.size, [0.78, 1.8], atol=1e-2)
    assert localize([instance], projector, 60.0, 1.0, [DepthReading(70.0, 70.0, 70.0)]) == [None]


def test_objects_localized_together_are_where_each_is_alone() -> None:
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5))
    boxes = [(300, 200, 340, 420), (300, 100, 340, 191), (20, 260, 90, 400), (500, 100, 620, 191)]
    instances = [seen(box)[0] for box in boxes]
    depths = [None, None, DepthReading(4.0, 5.0, 7.0), DepthReading(9.0, 10.0, 12.0)]
    together = localize(instances, projector, 60.0, 1.0, depths)
    assert [item is None for item in together] == [False, True, False, False]
    for instance, depth, item in zip(instances, depths, together, strict=True):
        (alone,) = localize([instance], projector, 60.0, 1.0, [depth])
        if item is None or alone is None:
            assert item is alone is None
            continue
        assert item.instance is instance
        for field in ("position", "distance", "bounds", "size", "covariance", "outline", "footprint"):
            np.testing.assert_allclose(getattr(item, field), getattr(alone, field), rtol=1e-9, atol=1e-9)
