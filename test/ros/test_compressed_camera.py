"""A camera that only sends compressed images, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.perception import Perception
from test.ros.dds_node import RED_BOX, pixels
from test.ros.harness import Listener, NodeProcess, Player
from test.ros.messages import FRAME_ID, compressed, frame, image, scene

REAR_MASK = "/m2a/output/rear/open_set_mask"


@pytest.fixture(scope="module")
def compressed_camera(
    domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path
) -> Iterator[tuple[NodeProcess, Player, Listener]]:
    """A second node, of a camera that only sends compressed images."""
    folder = tmp_path_factory.mktemp("compressed")
    node = NodeProcess(domain, folder, {"model": str(tiny), "cameras": ["rear"], "diagnostics": {"period": 0.1}})
    player, listener = Player(domain, folder), Listener(domain)
    listener.listen(REAR_MASK, Image)
    listener.wait_for_outputs(REAR_MASK)
    yield node, player, listener
    player.close()
    listener.close()
    node.stop()


def answer_of_rear(player: Player, listener: Listener, message: CompressedImage | Image) -> Image:
    """Send until the answer comes: the node looks for the topic's publisher every half second."""
    topic = "/m2a/input/rear/image" + ("/compressed" if isinstance(message, CompressedImage) else "")

    def play_and_look() -> Image | None:
        player.play(topic, [message], pause=0.1)
        return next((m for m in listener.received[REAR_MASK] if m.header.stamp == message.header.stamp), None)

    answer = listener.spin_until(play_and_look)
    assert answer
    return answer


def test_png_is_decoded_exactly(compressed_camera: tuple[NodeProcess, Player, Listener], tiny: Path) -> None:
    _, player, listener = compressed_camera
    rgb = scene(RED_BOX)
    answer = answer_of_rear(player, listener, compressed(rgb, 7, ".png"))
    assert answer.header.frame_id == FRAME_ID
    np.testing.assert_array_equal(pixels(answer), Perception.load(str(tiny)).infer(frame(rgb)).open_set)


def test_truncated_jpeg_is_counted_and_not_answered(
    compressed_camera: tuple[NodeProcess, Player, Listener],
) -> None:
    node, player, listener = compressed_camera
    answer_of_rear(player, listener, compressed(scene(RED_BOX), 8, ".jpg"))
    cut = compressed(scene(RED_BOX), 9, ".jpg")
    cut.data = cut.data[: len(cut.data) // 2]

    def play_and_see(status: dict[str, str]) -> bool:
        player.play("/m2a/input/rear/image/compressed", [cut], pause=0.1)
        return int(status.get("dropped.bad_image.undecodable", 0)) > 0

    listener.wait_for_status("m2a: camera rear", play_and_see)
    answer_of_rear(player, listener, compressed(scene(RED_BOX), 10, ".jpg"))
    assert cut.header.stamp not in [message.header.stamp for message in listener.received[REAR_MASK]]
    assert node.process.poll() is None


def test_raw_images_are_taken_as_soon_as_they_come(
    compressed_camera: tuple[NodeProcess, Player, Listener],
) -> None:
    _, player, listener = compressed_camera
    answer_of_rear(player, listener, compressed(scene(RED_BOX), 11, ".png"))
    answer_of_rear(player, listener, image(scene(RED_BOX), 12))
