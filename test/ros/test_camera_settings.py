"""Each camera is read as its parameters say: transport, crop, rectification, batches; one executor, real DDS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image

from m2a_core.geometry.rectification import Rectifier
from m2a_core.perception import Perception
from m2a_core.types import UNLABELLED
from test.ros.in_process import RED_BOX, Nodes, ids
from test.ros.messages import camera_info, compressed, frame, image, scene


def test_cameras_are_read_as_each_says(nodes: Nodes, tiny: Path) -> None:
    nodes.start(
        cameras=["front", "rear"],
        transport="raw",
        camera__rear__transport="compressed",
        camera__front__crop=True,
        camera__front__crop_center=1.0,
    )
    for camera in ("front", "rear"):
        nodes.listen(f"/m2a/output/{camera}/open_set_mask", Image)
    perception = Perception.load(str(tiny), threads=1)
    rgb = scene((56, 120, 72, 136), (160, 128))
    cut = ids(nodes.answer("/m2a/output/front/open_set_mask", image(rgb, 1), "/m2a/input/front/image"))
    assert (cut[:64] == UNLABELLED).all()
    np.testing.assert_array_equal(cut[64:], perception.infer(frame(rgb[64:])).open_set)
    rear = nodes.answer(
        "/m2a/output/rear/open_set_mask", compressed(rgb, 2, ".png"), "/m2a/input/rear/image/compressed"
    )
    np.testing.assert_array_equal(ids(rear), perception.infer(frame(rgb)).open_set)


def test_rectified_cameras_answer_on_the_rectified_image_and_not_at_all_without_calibration(
    nodes: Nodes, tiny: Path
) -> None:
    nodes.start(camera__front__rectify=True)
    mask, source = "/m2a/output/front/open_set_mask", "/m2a/input/front/image"
    nodes.listen(mask, Image)
    rgb = scene(RED_BOX)
    key = "dropped.not_rectified.no_camera_info"
    status = nodes.until(
        lambda: (found := nodes.status("m2a: camera front")) and key in found and found,
        lambda: nodes.send(source, image(rgb, 1)),
    )
    assert status["level"] == "1"
    info = camera_info(128, 96, 100.0)
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    nodes.until(
        lambda: any(m.header.stamp.sec == 2 for m in nodes.received[mask]),
        lambda: (nodes.send("/m2a/input/front/camera_info", info), nodes.send(source, image(rgb, 2)))[0],
    )
    assert [m for m in nodes.received[mask] if m.header.stamp.sec == 1] == []
    straight = Rectifier().apply(rgb, info)
    assert (straight != rgb).any()
    want = Perception.load(str(tiny), threads=1).infer(frame(straight)).open_set
    np.testing.assert_array_equal(ids(nodes.received[mask][-1]), want)


def test_batched_cameras_are_answered_together_and_told_of(nodes: Nodes) -> None:
    nodes.start(cameras=["left", "front", "right"], batch__anchor="front", batch__wait=10.0)
    cameras = ("left", "right", "front")
    for camera in cameras:
        nodes.listen(f"/m2a/output/{camera}/open_set_mask", Image)

    def answered(stamp: int) -> bool:
        return all(
            any(m.header.stamp.sec == stamp for m in nodes.received[f"/m2a/output/{camera}/open_set_mask"])
            for camera in cameras
        )

    def send_all() -> None:
        for camera in cameras:
            nodes.send(f"/m2a/input/{camera}/image", image(scene(None), 3))

    assert nodes.until(lambda: answered(3), send_all)
    # The first batches lack a camera whose images have not been discovered.
    nodes.until(lambda: nodes.status("m2a: node").get("batch_cameras") == "3", send_all)
    assert nodes.status("m2a: node")["batch_spread_ms"] == "0.0"
    key = "dropped.outside_window"

    def send_one_late() -> None:
        nodes.send("/m2a/input/left/image", image(scene(None), 1))
        nodes.send("/m2a/input/front/image", image(scene(None), 5))

    status = nodes.until(lambda: (found := nodes.status("m2a: camera left")) and key in found and found, send_one_late)
    assert status["level"] == "1"
    assert "batch.max_spread" in status["message"]
