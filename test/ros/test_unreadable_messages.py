"""Bytes that are not a message: counted, named, and without other effect."""

from __future__ import annotations

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from test.ros.messages import camera_info, image, scene

CAMERA = "m2a: camera front"
IN = "/m2a/input/front"
MASK = "/m2a/output/front/open_set_mask"


def test_bytes_that_are_no_message_are_counted_by_topic(nodes) -> None:
    nodes.start(extrinsics="parameters")
    nodes.listen(MASK, Image)
    picture = image(scene(None), 5)
    nodes.answer(MASK, picture, f"{IN}/image")
    cut_off = serialize_message(picture)[:-7]
    nodes.send(f"{IN}/camera_info", camera_info(128, 96, 100.0))
    nodes.send(f"{IN}/depth", image(scene(None), 5))
    images, infos, depths = (nodes.senders[f"{IN}/{name}"] for name in ("image", "camera_info", "depth"))

    def send() -> None:
        images.publish(cut_off)
        infos.publish(serialize_message(CameraInfo())[:30])
        depths.publish(b"")

    keys = ("dropped.bad_image.unreadable", "unreadable.camera_info", "unreadable.depth")
    status = nodes.until(lambda: all(key in (s := nodes.status(CAMERA)) for key in keys) and s, send)
    assert f"{len(cut_off)} bytes that are not a valid Image message" in status["last_error"]
    assert status["level"] == "1"
    later = image(scene(None), 6)
    nodes.answer(MASK, later, f"{IN}/image")
    assert {m.header.stamp.sec for m in nodes.received[MASK]} == {5, 6}
