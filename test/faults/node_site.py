"""A node in a process of its own, with a camera and a listener, for the scenarios of the part `processes`."""

# ruff: noqa: SLF001 - a node's state is looked at from inside
from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image

from m2a_core.labels.builtin import CAMVID11
from test.ros.harness import Listener, NodeProcess, Player
from test.ros.in_process import ids
from test.ros.messages import image, scene

MASK, IN, CAMERA, NODE = (
    "/m2a/output/front/open_set_mask",
    "/m2a/input/front/image",
    "m2a: camera front",
    "m2a: node",
)
_PLACES = 10
_OBJECT_WIDTH, _STEP = 40, 8


def picture(stamp: int) -> Image:
    """A frame whose unknown object stands where its stamp says."""
    x = _STEP * (stamp % _PLACES)
    return image(scene((x, 52, x + _OBJECT_WIDTH, 92)), stamp)


def shows(mask: Image) -> bool:
    """Whether a mask is of the frame whose stamp it carries."""
    columns = np.nonzero((ids(mask) == CAMVID11.unknown_id).any(0))[0]
    middle = _STEP * (mask.header.stamp.sec % _PLACES) + _OBJECT_WIDTH / 2
    return len(columns) > 0 and abs(float(columns.min() + columns.max()) / 2 - middle) < _STEP / 2


def _last_trace(log: str) -> str:
    """The end of a log's last traceback, which names the error."""
    lines = log[log.rindex("Traceback") :].splitlines()
    end = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    return "\n".join(lines[:end])[-500:]


class Site:
    """A node process, a camera process, and a listener.

    Attributes:
        sent: stamps of the frames that were sent, seconds.
        unread: stamps of frames whose pictures are not `picture`'s.
    """

    def __init__(
        self,
        folder: Path,
        domain: int,
        parameters: Mapping[str, Any],
        module: Sequence[str] = ("m2a_ros.node.main",),
    ) -> None:
        folder.mkdir(parents=True)
        self.domain, self.folder, self._module = domain, folder, module
        self.parameters = {"threads": 1, "extrinsics": "parameters", **parameters}
        self.start()
        self.player, self.listener = Player(domain, folder), Listener(domain)
        self.listener.listen(MASK, Image)
        self.sent: set[int] = set()
        self.unread: set[int] = set()
        self.stamp = 1_000

    def start(self, **environment: str) -> None:
        """A new node process."""
        self.node = NodeProcess(self.domain, self.folder, self.parameters, self._module, environment)

    def answered(self, stamp: int | None = None) -> float:
        """Send a frame until it is answered; returns when the answer came, ``time.monotonic()``."""
        self.stamp += 1
        sent = picture(self.stamp if stamp is None else stamp)
        self.sent.add(sent.header.stamp.sec)
        self.listener.wait_for_outputs(MASK)
        masks = self.listener.received[MASK]
        for _ in range(60):
            self.player.play(IN, [sent])
            if self.listener.spin_until(lambda: any(m.header.stamp == sent.header.stamp for m in masks), 1.0):
                return time.monotonic()
        raise AssertionError(f"never answered; the node's log ends with {self.node.log[-600:]}")

    def send(self, count: int, pause: float = 0.01) -> None:
        """Send frames, whether they are answered or not."""
        pictures = []
        for _ in range(count):
            self.stamp += 1
            self.sent.add(self.stamp)
            pictures.append(picture(self.stamp))
        self.player.play(IN, pictures, pause)

    def said_after(self, name: str, words: str, since: float) -> float:
        """Wait until a status says it; returns the seconds since then."""
        self.listener.received["/diagnostics"].clear()
        self.listener.wait_for_status(name, lambda status: words in status["message"])
        return time.monotonic() - since

    def wait_for_log(self, text: str) -> None:
        """Wait until the node's log has a text, looking often."""
        deadline = time.monotonic() + 60.0
        while text not in self.node.log:
            assert self.node.process.poll() is None, f"ended: {self.node.log[-600:]}"
            assert time.monotonic() < deadline, f"no {text!r} in {self.node.log[-600:]}"
            time.sleep(0.002)

    def ask(self, transition: int) -> Any:
        """Ask for a transition; returns the future."""
        client = self.listener.node.create_client(ChangeState, "/m2a/change_state")
        assert self.listener.spin_until(client.service_is_ready)
        request = ChangeState.Request()
        request.transition.id = transition
        return client.call_async(request)

    def change(self, transition: int) -> None:
        """Ask for a transition and wait for its success."""
        future = self.ask(transition)
        assert self.listener.spin_until(future.done), f"no answer to transition {transition}"
        assert future.result().success, f"transition {transition}: {self.node.log[-600:]}"

    def new_camera(self) -> None:
        """The camera's process is killed; another one starts."""
        self.kill_camera()
        self.player = Player(self.domain, self.folder)

    def kill_camera(self) -> None:
        self.player._process.kill()
        self.player._process.wait()

    def close(self) -> None:
        """End the node, and look at what it left: its code, its log, and the stamps of all answers."""
        masks = list(self.listener.received[MASK])
        self.player.close()
        self.listener.close()
        if self.node.process.poll() is None:
            self.node.process.send_signal(signal.SIGCONT)
        code = self.node.stop()
        # The error of the case itself says more.
        if sys.exc_info()[0] is not None:
            return
        assert code in (0, -signal.SIGKILL), f"ended with {code}: {self.node.log[-600:]}"
        assert "Traceback" not in self.node.log, _last_trace(self.node.log)
        strange = {mask.header.stamp.sec for mask in masks} - self.sent - self.unread
        assert not strange, f"wrong stamp: answers to frames that nobody sent: {strange}"
        wrong = [m.header.stamp.sec for m in masks if m.header.stamp.sec not in self.unread and not shows(m)]
        assert not wrong, f"wrong stamp: masks of other frames at {wrong}"
