"""The calibration of the maps: there before anybody listens to a map, and only where it is true."""

from __future__ import annotations

from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from test.ros.in_process import RED_BOX, Nodes
from test.ros.messages import camera_info, image, scene

IN, OUT = "/m2a/input/front", "/m2a/output/front"


def calibrate(nodes: Nodes, info: CameraInfo) -> Any:
    node = nodes.start(**{"output.resolution": "64x48"})
    nodes.until(lambda: node.inputs["front"].camera_info, lambda: nodes.send(f"{IN}/camera_info", info))
    return node


def test_it_comes_for_whoever_waits_for_it_before_listening_to_maps_and_needs_no_network(nodes: Nodes) -> None:
    nodes.listen(f"{OUT}/camera_info", CameraInfo)
    node = calibrate(nodes, camera_info(128, 96, 100.0))
    made = nodes.answer(f"{OUT}/camera_info", image(scene(RED_BOX), 7), f"{IN}/image")
    assert (made.width, made.height, made.k[0]) == (64, 48, 50.0)
    assert node.statistics["front"].snapshot().published == 0


@pytest.mark.parametrize("info", [CameraInfo(), camera_info(128, 64, 100.0)], ids=["of no size", "of another aspect"])
def test_one_that_does_not_fit_is_not_published_and_costs_nothing_else(nodes: Nodes, info: CameraInfo) -> None:
    nodes.listen(f"{OUT}/camera_info", CameraInfo)
    nodes.listen(f"{OUT}/open_set_mask", Image)
    markers = nodes.listen(f"{OUT}/unknown_markers", MarkerArray)
    node = calibrate(nodes, info)
    nodes.answer(f"{OUT}/open_set_mask", image(scene(RED_BOX), 7), f"{IN}/image")
    nodes.until(lambda: markers)
    seen = node.statistics["front"].snapshot()
    assert nodes.received[f"{OUT}/camera_info"] == []
    assert seen.odd_images["camera_info_does_not_fit"] > 0
    assert "internal_error" not in seen.dropped
