"""One node over DDS with every output heard, fed with what broken drivers send: nothing wrong comes out, all counts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray

from test.ros.harness import Listener, NodeProcess, Player
from test.ros.hostile import RED_BOX, bad_compressed, bad_raw, raw
from test.ros.messages import camera_info, compressed, image, scene

STAMPED = {
    "output/{}/anomaly_map": Image,
    "output/{}/open_set_mask": Image,
    "output/{}/panoptic": Image,
    "output/{}/unknown_instances": Image,
    "output/{}/unknown_markers": MarkerArray,
    "debug/{}/overlay": Image,
    "debug/{}/overlay/compressed": CompressedImage,
}
COUNTED = "debug/{}/processing_time_ms"
INPUTS = {"front": "/m2a/input/front/image", "rear": "/m2a/input/rear/image/compressed"}
INFO = "/m2a/input/front/camera_info"


class TwoCameras:
    """A node with a raw and a compressed camera, a player, and a listener to everything."""

    def __init__(self, domain: int, folder: Path, model: Path) -> None:
        parameters = {
            "model": str(model),
            "threads": 1,
            "cameras": ["front", "rear"],
            "diagnostics": {"period": 0.1},
            "markers": {"lifetime": 0.0},
            "tracking": {"min_hits": 1},
            "extrinsics": "parameters",
            "mounting": {"front": {"height": 1.5, "pitch": 0.1}},
        }
        self.node = NodeProcess(domain, folder, parameters)
        self.player, self.listener = Player(domain, folder), Listener(domain)
        self.topics = {
            camera: {f"/m2a/{topic.format(camera)}": kind for topic, kind in STAMPED.items()} for camera in INPUTS
        }
        for camera, topics in self.topics.items():
            for topic, kind in topics.items():
                self.listener.listen(topic, kind)
            self.listener.listen(self.times(camera), Float64)
        self._stamp = 1000

    @staticmethod
    def times(camera: str) -> str:
        return f"/m2a/{COUNTED.format(camera)}"

    def stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def status(self, camera: str) -> dict[str, str]:
        return self.listener.status(f"m2a: camera {camera}")

    def until(self, camera: str, test: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        return self.listener.wait_for_status(f"m2a: camera {camera}", test)

    def seen(self, topic: str, stamp: Any) -> list[Any]:
        messages = self.listener.received[topic]
        stamps = [
            (m.markers[0].header if isinstance(m, MarkerArray) else m.header).stamp
            for m in messages
            if not isinstance(m, MarkerArray) or m.markers
        ]
        return [found for found in stamps if found == stamp]

    def ask(self, camera: str, info: CameraInfo | None = None) -> Any:
        """Send a good frame with an object until every output has answered it; give its stamp."""
        for _ in range(20):
            make = image if camera == "front" else lambda rgb, stamp: compressed(rgb, stamp, ".png")
            message = make(scene(RED_BOX), self.stamp())
            if camera == "front":
                self.player.play(INFO, [info or camera_info(128, 96, focal=100.0)], pause=0.05)
            self.player.play(INPUTS[camera], [message])
            topics = (
                self.topics[camera]
                if camera == "front"
                else [topic for topic in self.topics[camera] if "markers" not in topic]
            )
            stamp = message.header.stamp
            if self.listener.spin_until(lambda t=topics, s=stamp: all(self.seen(topic, s) for topic in t), timeout=2.0):
                return stamp
        raise AssertionError(f"no answer; node log:\n{self.node.log}")

    def settle(self) -> None:
        """Wait until nothing but diagnostics has come for a second."""
        before = None
        while before != (now := {t: len(got) for t, got in self.listener.received.items() if t != "/diagnostics"}):
            before = now
            self.listener.spin_until(lambda: False, timeout=1.0)

    def close(self) -> int:
        self.player.close()
        self.listener.close()
        return self.node.stop()


@pytest.fixture(scope="module")
def cameras(domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[TwoCameras]:
    made = TwoCameras(domain, tmp_path_factory.mktemp("cameras"), tiny)
    try:
        made.ask("front")
        made.ask("rear")
        yield made
    finally:
        made.close()


def drops(status: dict[str, str], reason: str) -> int:
    return int(status.get(f"dropped.bad_image.{reason}", 0))


@pytest.mark.parametrize("camera", ["front", "rear"])
def test_no_malformed_image_gives_anything_on_any_output(cameras: TwoCameras, camera: str) -> None:
    cameras.ask(camera)
    cameras.settle()
    before = {
        topic: len(cameras.listener.received[topic]) for topic in [*cameras.topics[camera], cameras.times(camera)]
    }
    cases = bad_raw() if camera == "front" else bad_compressed()
    for name, (reason, change, *form) in cases.items():
        stamp = cameras.stamp()
        if isinstance(change, dict):
            bad: Image | CompressedImage = raw(stamp, **change)
        else:
            bad = CompressedImage(header=raw(stamp).header, format=form[0], data=change)
        counted = drops(cameras.status(camera), reason)

        def play_and_count(status: dict[str, str], bad: Any = bad, reason: str = reason, so_far: int = counted) -> bool:
            cameras.player.play(INPUTS[camera], [bad])
            return drops(status, reason) > so_far

        status = cameras.until(camera, play_and_count)
        assert status["last_error"], name
    cameras.settle()
    after = {topic: len(cameras.listener.received[topic]) for topic in before}
    assert after == before
    assert cameras.node.process.poll() is None
    cameras.ask(camera)


def test_a_jpeg_without_its_end_is_answered_and_counted(cameras: TwoCameras) -> None:
    counted = int(cameras.status("rear").get("images.without_end", 0))
    sent: list[Any] = []

    def play_and_see(status: dict[str, str]) -> bool:
        message = compressed(scene(RED_BOX), cameras.stamp(), ".jpg")
        message.data = message.data[:-2]
        cameras.player.play(INPUTS["rear"], [message])
        sent.append(message.header.stamp)
        return int(status.get("images.without_end", 0)) > counted

    cameras.until("rear", play_and_see)
    mask = "/m2a/output/rear/open_set_mask"
    assert cameras.listener.spin_until(lambda: any(cameras.seen(mask, stamp) for stamp in sent))


INFOS = {
    "uncalibrated": (CameraInfo(width=128, height=96), "bad_camera_info"),
    "not a number": (CameraInfo(width=128, height=96, k=[float("nan")] * 9), "bad_camera_info"),
    "infinite": (CameraInfo(width=128, height=96, k=[float("inf"), 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
                 "bad_camera_info"),
    "negative focal length": (camera_info(128, 96, focal=-100.0), "bad_camera_info"),
    "no size": (camera_info(0, 0, focal=100.0), "camera_info_of_other_aspect"),
    "other aspect": (camera_info(128, 72, focal=100.0), "camera_info_of_other_aspect"),
    "region outside": (CameraInfo(width=128, height=96, k=camera_info(128, 96, 100.0).k,
                                  roi=RegionOfInterest(x_offset=2**31, y_offset=5, width=7, height=2**31)),
                       "camera_info_of_other_aspect"),
    "three coefficients": (CameraInfo(width=128, height=96, k=camera_info(128, 96, 100.0).k,
                                      distortion_model="plumb_bob", d=[0.1, 0.2, 0.3]), "bad_camera_info"),
    "unknown model": (CameraInfo(width=128, height=96, k=camera_info(128, 96, 100.0).k,
                                 distortion_model="kaleidoscope", d=[0.1] * 5), "bad_camera_info"),
    "binned to nothing": (CameraInfo(width=128, height=96, k=camera_info(128, 96, 100.0).k,
                                     binning_x=2**32 - 1, binning_y=2**32 - 1), "camera_info_of_other_aspect"),
}  # fmt: skip


def shown(cameras: TwoCameras, stamp: int) -> list[Marker]:
    arrays = cameras.listener.received["/m2a/output/front/unknown_markers"]
    return [m for a in arrays for m in a.markers if m.header.stamp.sec == stamp and m.action == Marker.ADD]


def test_bad_camera_info_costs_the_markers_only_and_says_why(cameras: TwoCameras) -> None:
    for name, (info, reason) in INFOS.items():
        key = f"without_markers.{reason}"
        counted = int(cameras.status("front").get(key, 0))
        stamp = cameras.stamp()

        def play_and_count(
            status: dict[str, str], info: CameraInfo = info, stamp: int = stamp, key: str = key, counted: int = counted
        ) -> bool:
            cameras.player.play(INFO, [info], pause=0.05)
            cameras.player.play(INPUTS["front"], [image(scene(RED_BOX), stamp)])
            return int(status.get(key, 0)) > counted + 1

        cameras.until("front", play_and_count)
        masks = cameras.listener.received["/m2a/output/front/open_set_mask"]
        assert cameras.listener.spin_until(lambda m=masks, s=stamp: s in [n.header.stamp.sec for n in m]), name
    assert cameras.node.process.poll() is None

    def is_answered(_: dict[str, str], later: int = cameras.stamp()) -> bool:
        cameras.player.play(INPUTS["front"], [image(scene(RED_BOX), later)])
        return later in [mask.header.stamp.sec for mask in masks]

    # A frame of the last case that still waits would meet the good camera_info; a later answer says that none does.
    cameras.until("front", is_answered)
    good = cameras.ask("front")
    assert shown(cameras, good.sec)
    # What was sent before has come by now. The first frame of a case can meet the camera_info of the case before; all
    # were bad.
    assert shown(cameras, stamp) == []


@pytest.mark.parametrize(
    ("sec", "nanosec", "reason"),
    [(-1, 0, "negative"), (-(2**31), 2**32 - 1, "negative"), (2**31 - 1, 2**32 - 1, "in_future")],
    ids=["before 1970", "smallest", "largest"],
)
def test_stamps_at_the_ends_of_time_are_answered_and_counted(
    cameras: TwoCameras, sec: int, nanosec: int, reason: str
) -> None:
    message = image(scene(RED_BOX), 1)
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    counted = int(cameras.status("front").get(f"stamps.{reason}", 0))

    def play_and_count(status: dict[str, str]) -> bool:
        cameras.player.play(INPUTS["front"], [message])
        return int(status.get(f"stamps.{reason}", 0)) > counted

    cameras.until("front", play_and_count)
    mask = "/m2a/output/front/open_set_mask"
    assert cameras.listener.spin_until(lambda: cameras.seen(mask, message.header.stamp))
    assert cameras.node.process.poll() is None
    cameras.ask("front")


def test_a_hundred_subscribers_come_and_go_and_leave_nothing(cameras: TwoCameras) -> None:
    cameras.ask("front")
    topics = list(cameras.topics["front"].items())
    files = Path(f"/proc/{cameras.node.process.pid}/fd")
    before = len(list(files.iterdir()))
    frame = image(scene(RED_BOX), cameras.stamp())
    for wave in range(4):
        got: list[int] = []
        subscriptions = [
            cameras.listener.node.create_subscription(kind, topic, lambda _, g=got, n=number: g.append(n), 1)
            for number, (topic, kind) in enumerate((topics * 4)[:25])
        ]
        cameras.player.play(INPUTS["front"], [frame] * (1 + wave), pause=0.02)

        def all_heard(got: list[int] = got, count: int = len(subscriptions)) -> bool:
            cameras.player.play(INPUTS["front"], [frame])
            return set(got) == set(range(count))

        assert cameras.listener.spin_until(all_heard)
        for subscription in subscriptions:
            cameras.listener.node.destroy_subscription(subscription)
    cameras.ask("front")
    assert cameras.listener.spin_until(lambda: len(list(files.iterdir())) <= before + 4)
    assert cameras.status("front")["level"] != "2"
    assert "Traceback" not in cameras.node.log


def test_the_node_that_met_all_this_ends_cleanly(cameras: TwoCameras) -> None:
    assert cameras.node.stop(signal.SIGINT) == 0, cameras.node.log
    assert "Traceback" not in cameras.node.log
