"""Frames of which the node keeps count, over DDS: bad ones, odd stamps, and those a newer one replaced."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from sensor_msgs.msg import CompressedImage, Image

from test.ros.dds_node import CAMERA, IN, OUT, RED_BOX, DdsNode
from test.ros.harness import Listener, NodeProcess, Player
from test.ros.messages import image, scene
from test.tiny_bundle import write_tiny_bundle


def bad_image(kind: str, stamp: int) -> Image | CompressedImage:
    message = image(scene(RED_BOX), stamp)
    if kind == "unknown encoding":
        message.encoding = "rgb9"
    elif kind == "step too small":
        message.step -= 3
    elif kind == "data too short":
        message.data = message.data[:-1]
    elif kind == "data too long":
        message.data = [*message.data, 0]
    elif kind == "zero size":
        message.height, message.width, message.step, message.data = 0, 0, 0, []
    else:
        message.encoding = "8UC3"
    return message


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unknown encoding", "unknown_encoding"),
        ("step too small", "size_mismatch"),
        ("data too short", "size_mismatch"),
        ("data too long", "size_mismatch"),
        ("zero size", "empty"),
        ("channels without colour", "unconvertible"),
    ],
)
def test_bad_image_is_counted_and_not_answered(dds_node: DdsNode, listening: str, kind: str, reason: str) -> None:
    key = f"dropped.bad_image.{reason}"
    dds_node.answer(listening, image(scene(None), dds_node.stamp()))
    before = int(dds_node.listener.status(CAMERA).get(key, 0))
    bad = bad_image(kind, dds_node.stamp())

    def play_and_see(status: dict[str, str]) -> bool:
        dds_node.player.play(IN, [bad])
        return int(status.get(key, 0)) > before and status["level"] == "1"

    status = dds_node.listener.wait_for_status(CAMERA, play_and_see)
    assert "bad frames" in status["message"]
    dds_node.answer(listening, image(scene(None), dds_node.stamp()))
    assert bad.header.stamp not in [message.header.stamp for message in dds_node.listener.received[listening]]
    assert dds_node.node.process.poll() is None


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
@pytest.mark.parametrize(
    ("stamps", "reason"),
    [([0], "zero"), ([2_000_000_000], "in_future"), ([2, 1], "jumped_back")],
    ids=["zero", "future", "back"],
)
def test_odd_stamps_are_counted_warned_of_and_answered(
    dds_node: DdsNode, listening: str, stamps: list[int], reason: str
) -> None:
    key = f"stamps.{reason}"
    before = int(dds_node.listener.status(CAMERA).get(key, 0))

    # A picture that repeats itself is a frozen camera, which diagnostics would tell first.
    places = itertools.cycle(range(8, 100, 4))

    def play_and_see(status: dict[str, str]) -> bool:
        for stamp in stamps:
            x = next(places)
            message = image(scene((x, 64, x + 16, 80)), stamp)
            if stamp == 0:
                message.header.stamp.nanosec = 0
            dds_node.answer(listening, message)
        return int(status.get(key, 0)) > before and reason in status["message"]

    dds_node.listener.wait_for_status(CAMERA, play_and_see)
    assert dds_node.node.process.poll() is None


def accounted(status: dict[str, str]) -> int:
    return int(status["published"]) + sum(int(n) for key, n in status.items() if key.startswith("dropped."))


@pytest.mark.slow
def test_slow_network_takes_the_latest_frame_and_counts_the_rest(domain: int, tmp_path: Path) -> None:
    model = write_tiny_bundle(tmp_path / "slow", input_size=(384, 512))
    parameters = {"model": str(model), "threads": 1, "cameras": ["fast"], "diagnostics": {"period": 0.2}}
    node = NodeProcess(domain, tmp_path, parameters)
    player, listener = Player(domain, tmp_path), Listener(domain)
    mask, camera = "/m2a/output/fast/open_set_mask", "m2a: camera fast"
    try:
        listener.listen(mask, Image)
        listener.wait_for_outputs(mask)
        listener.wait_for_status(camera, lambda status: True)
        frames = [image(scene(None), stamp) for stamp in range(1, 41)]
        player.play("/m2a/input/fast/image", frames, pause=0.01)
        last = frames[-1].header.stamp
        assert listener.spin_until(lambda: any(m.header.stamp == last for m in listener.received[mask]))
        answered = [message.header.stamp.sec for message in listener.received[mask]]
        assert answered == sorted(set(answered))
        # Diagnostics of before the last answer add up, too.
        status = listener.wait_for_status(camera, lambda status: int(status["published"]) == len(answered))
        assert int(status["received"]) == accounted(status)
        assert int(status["dropped.replaced_by_newer"]) > 0
    finally:
        player.close()
        listener.close()
        node.stop()
