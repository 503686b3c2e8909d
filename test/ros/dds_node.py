"""One node process, one player process, this process as the listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from m2a_core.perception import Perception
from m2a_core.types import OpenSetResult
from test.ros.harness import Listener, NodeProcess, Player
from test.ros.messages import frame

OUT = "/m2a/output/front"
DEBUG = "/m2a/debug/front"
IN = "/m2a/input/front/image"
CAMERA = "m2a: camera front"
RED_BOX = (56, 64, 72, 80)


class DdsNode:
    """Everything a test needs, with stamps that never repeat."""

    def __init__(self, domain: int, folder: Path, model: Path) -> None:
        self.node = NodeProcess(
            domain,
            folder,
            {
                "model": str(model),
                "threads": 1,
                "diagnostics": {"period": 0.1},
                "extrinsics": "parameters",
                "mounting": {"front": {"height": 1.5, "pitch": 0.1}},
                "base_frame": "ground",
            },
        )
        self.player = Player(domain, folder)
        self.listener = Listener(domain)
        self.perception = Perception.load(str(model), threads=1)
        self._stamp = 1000

    def stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def answer(self, topic: str, message: Any, to: str = IN, tries: int = 20) -> Any:
        """Send a message until ``topic`` answers with its stamp: the first ones can miss a reader being discovered."""
        self.listener.wait_for_outputs(topic)
        for _ in range(tries):
            self.player.play(to, [message])
            found = self.listener.spin_until(lambda: self._with_stamp(topic, message.header.stamp), timeout=2.0)
            if found:
                return found
        raise AssertionError(f"{topic} never answered {message.header}; node log:\n{self.node.log}")

    def _with_stamp(self, topic: str, stamp: Any) -> Any:
        return next((m for m in self.listener.received[topic] if m.header.stamp == stamp), None)

    def expected(self, rgb: np.ndarray) -> OpenSetResult:
        return self.perception.infer(frame(rgb))

    def close(self) -> int:
        self.player.close()
        self.listener.close()
        return self.node.stop()


def pixels(message: Image) -> np.ndarray:
    dtype = {"32FC1": np.float32, "mono8": np.uint8, "16UC1": np.uint16}[message.encoding]
    assert message.step == message.width * np.dtype(dtype).itemsize
    return np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width)
