"""Bytes that are no message: counted, named, and nothing else comes of them."""

from __future__ import annotations

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from test.ros.messages import camera_info, image, scene

CAMERA = "m2a: camera front"
IN = "/m2a/input/front"
MASK = "/m2a/output/front/open_set_mask"


def test_bytes_that_are_no_message_are_counted_by_topic(rig) -> None:
    rig.start(extrinsics="parameters")
    rig.listen(MASK, Image)
    picture = image(scene(None), 5)
    rig.answer(MASK, picture, f"{IN}/image")
    cut_off = serialize_message(picture)[:-7]
    rig.send(f"{IN}/camera_info", camera_info(128, 96, 100.0))
    rig.send(f"{IN}/depth", image(scene(None), 5))
    images, infos, depths = (rig.senders[f"{IN}/{name}"] for name in ("image", "camera_info", "depth"))

    def send() -> None:
        images.publish(cut_off)
        infos.publish(serialize_message(CameraInfo())[:30])
        depths.publish(b"")

    keys = ("dropped.bad_image.unreadable", "unreadable.camera_info", "unreadable.depth")
    status = rig.until(lambda: all(key in (s := rig.status(CAMERA)) for key in keys) and s, send)
    assert f"{len(cut_off)} bytes that are no Image" in status["last_error"]
    assert status["level"] == "1"
    later = image(scene(None), 6)
    rig.answer(MASK, later, f"{IN}/image")
    assert {m.header.stamp.sec for m in rig.received[MASK]} == {5, 6}
