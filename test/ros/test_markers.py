from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.localization import LocalizedInstance, localize
from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_core.stream.objects import TrackedObject
from m2a_core.types import UnknownInstance
from m2a_ros.outputs.marker_fields import array_of, bytes_of, writes_what_rclpy_reads
from m2a_ros.outputs.markers import MarkerBuilder, locations_in
from test.ros.messages import camera_info

PROJECTOR = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), Mounting(height=1.5))
STAMP = Time(sec=5, nanosec=6)


def box(x0: int, y0: int, x1: int, y1: int) -> UnknownInstance:
    """A rectangular instance."""
    contour = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.int32)
    return UnknownInstance(1, 0.875, (x1 - x0) * (y1 - y0), (x0, y0, x1, y1), contour, ((x0 + x1) / 2, float(y1)))


def placed() -> LocalizedInstance:
    (item,) = localize([box(300, 200, 340, 290)], PROJECTOR, 60, 1.0)
    assert item is not None
    return item


def shown(builder: MarkerBuilder, located: dict[int, LocalizedInstance], stamp: Time = STAMP) -> list[Marker]:
    """The markers of a frame as rclpy reads them."""
    header, markers = builder.header(stamp), builder.build(located)
    message = deserialize_message(bytes_of(header, markers).tobytes(), MarkerArray)
    assert message == deserialize_message(serialize_message(array_of(header, markers)), MarkerArray)
    return list(message.markers)


def test_an_object_gets_its_metric_place_and_size() -> None:
    item = placed()
    np.testing.assert_allclose(item.position, [15, 0, 0])
    assert item.distance == pytest.approx(15)
    # 40 x 90 px at 15 m with f = 500 px are 1.2 m x 2.7 m.
    np.testing.assert_allclose(np.ptp(item.outline, axis=0), [0, 1.2, 2.7], atol=1e-9)
    np.testing.assert_allclose(item.footprint[:, 0], [15, 15, 16.2, 16.2])
    np.testing.assert_allclose(sorted(item.footprint[:, 1]), [-0.6, -0.6, 0.6, 0.6])
    assert (item.footprint[:, 2] == 0).all()


def test_size_and_covariance_are_metric() -> None:
    item = placed()
    np.testing.assert_allclose(item.size, [1.2, 2.7])
    near, far = item.bounds
    # One pixel to the side at 15 m with f = 500 px is 3 cm; bounds are uniform distributions: width / sqrt(12).
    np.testing.assert_allclose(
        np.sqrt(np.diag(item.covariance)), [(far - near) / 12**0.5, 0.06 / 12**0.5, 0], rtol=1e-2
    )


def test_an_open_bound_gives_a_large_and_finite_covariance() -> None:
    (item,) = localize([box(300, 200, 340, 253)], PROJECTOR, 60, 8.0)
    assert item is not None
    assert item.bounds[1] == np.inf
    assert 100 < np.sqrt(item.covariance[0, 0]) < 1000


@pytest.mark.parametrize("bottom", [240, 200, 241])
def test_above_the_horizon_or_too_far_there_is_no_marker(bottom: int) -> None:
    assert localize([box(300, 100, 340, bottom)], PROJECTOR, 60, 1.0) == [None]


def test_bounds_that_reach_the_horizon_are_open() -> None:
    (item,) = localize([box(300, 200, 340, 253)], PROJECTOR, 60, 8.0)
    assert item is not None
    markers = shown(MarkerBuilder("front", "base_link", lifetime=1.0), {1: item})
    near = 1.5 / np.tan(np.arctan(21 / np.hypot(500, 8)) + 0.01)
    assert markers[2].text == f"unknown 1  0.88  57.7 m (> {near:.1f})  4.6 x 6.1 m"


def test_markers_carry_id_score_and_the_frame_s_stamp() -> None:
    markers = shown(MarkerBuilder("front", "base_link", lifetime=1.25), {4: placed()})
    assert {(m.ns, m.id, m.action) for m in markers} == {
        ("front/outline", 4, Marker.ADD),
        ("front/footprint", 4, Marker.ADD),
        ("front/label", 4, Marker.ADD),
    }
    assert all(m.header.stamp == STAMP and m.header.frame_id == "base_link" for m in markers)
    assert all((m.lifetime.sec, m.lifetime.nanosec) == (1, 250_000_000) for m in markers)
    assert all(m.color.a == 1 and m.pose.orientation.w == 1 for m in markers)
    label = next(m for m in markers if m.type == Marker.TEXT_VIEW_FACING)
    # One pixel and 0.01 rad either way of atan(50 / 500) below the horizon, from 1.5 m.
    near, far = (1.5 / np.tan(np.arctan((50 + sign) / 500) + sign * 0.01) for sign in (1, -1))
    assert label.text == f"unknown 4  0.88  15.0 m ({near:.1f}..{far:.1f})  1.2 x 2.7 m"
    assert label.scale.z > 0
    lines = [m for m in markers if m.type == Marker.LINE_STRIP]
    assert len(lines) == 2
    for line in lines:
        assert line.scale.x > 0
        assert line.points[0] == line.points[-1]
        assert min(p.z for p in line.points) == pytest.approx(0, abs=1e-9)


def test_a_marker_shown_again_says_what_its_new_frame_does() -> None:
    square, builder = box(100, 260, 180, 330), MarkerBuilder("front", "base_link", 0.0)
    hexagon = np.array([[100, 290], [120, 260], [160, 260], [180, 290], [160, 330], [120, 330]], np.int32)
    shapes = [square, replace(square, contour=hexagon), replace(square, contour=hexagon[::2].copy())]
    item, more, fewer = localize(shapes, PROJECTOR, 60, 1.0)
    assert item is not None
    assert more is not None
    assert fewer is not None
    for before in ({1: placed()}, {1: more}, {1: fewer}, {}):
        shown(builder, before)
        again = shown(builder, {1: item}, Time(sec=7))
        assert again == shown(MarkerBuilder("front", "base_link", 0.0), {1: item}, Time(sec=7))


def test_what_is_gone_is_deleted_once() -> None:
    builder = MarkerBuilder("front", "base_link", lifetime=0.0)
    shown(builder, {1: placed(), 2: placed()})
    second = shown(builder, {2: placed(), 3: placed()})
    assert {(m.ns, m.id) for m in second if m.action == Marker.DELETE} == {
        ("front/outline", 1),
        ("front/footprint", 1),
        ("front/label", 1),
    }
    assert {m.id for m in second if m.action == Marker.ADD} == {2, 3}
    third = shown(builder, {})
    assert {m.id for m in third} == {2, 3}
    assert all(m.action == Marker.DELETE for m in third)
    assert shown(builder, {}) == []


@pytest.mark.parametrize(("region", "shown"), [("scene", {1, 2, 3}), ("road", {1, 3})])
def test_with_region_road_an_object_off_the_road_gets_no_marker(region: str, shown: set[int]) -> None:
    instances = [
        replace(box(300, 200, 340, 290), id=number, on_road=on_road)
        for number, on_road in ((1, True), (2, False), (3, None))
    ]
    objects = [*(TrackedObject(item, placed()) for item in instances), TrackedObject(replace(instances[0], id=4), None)]
    assert locations_in(region, objects).keys() == shown


def test_the_installed_markers_have_the_layout_that_is_written() -> None:
    assert writes_what_rclpy_reads()


def test_a_layout_that_is_another_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the definition had one more text behind the mesh.
    monkeypatch.setattr("m2a_ros.outputs.marker_fields.NO_MESH", b"")
    writes_what_rclpy_reads.cache_clear()
    try:
        assert not writes_what_rclpy_reads()
    finally:
        writes_what_rclpy_reads.cache_clear()
