"""Cameras of one node over DDS: none starves beside one that floods, and one that is dead or dies delays no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sensor_msgs.msg import Image

from test.ros.harness import Listener, NodeProcess, Player
from test.ros.messages import image, scene
from test.tiny_bundle import write_tiny_bundle

WARN = "1"


class Cameras:
    """A node with three cameras: one may flood, one waits for its answers, one never sends."""

    def __init__(self, domain: int, folder: Path) -> None:
        # Large enough that one inference takes longer than the flooding camera's period on any machine.
        model = write_tiny_bundle(folder / "slow", input_size=(384, 512))
        self.node = NodeProcess(
            domain,
            folder,
            {
                "model": str(model),
                "threads": 1,
                "cameras": ["flood", "calm", "dead"],
                "diagnostics": {"period": 0.1, "frame_timeout": 1.0},
            },
        )
        self._players = {}
        for name in ("flood", "calm"):
            (folder / name).mkdir()
            self._players[name] = Player(domain, folder / name)
        self.listener = Listener(domain)
        self._stop = threading.Event()
        self._flooding: threading.Thread | None = None
        self._stamp = 0
        for name in ("flood", "calm", "dead"):
            self.listener.listen(self.mask(name), Image)
        self.listener.wait_for_outputs(*map(self.mask, ("flood", "calm", "dead")))

    @staticmethod
    def mask(camera: str) -> str:
        return f"/m2a/output/{camera}/open_set_mask"

    def answered(self, camera: str) -> int:
        return len(self.listener.received[self.mask(camera)])

    def ask_calm(self) -> bool:
        """Send one frame of the calm camera and wait for its answer."""
        self._stamp += 1
        message = image(scene(None), self._stamp)
        for _ in range(6):  # A best-effort frame may be lost on the way.
            self._players["calm"].play("/m2a/input/calm/image", [message])
            if self.listener.spin_until(self._has_answer, timeout=5.0):
                return True
        return False

    def _has_answer(self) -> bool:
        return any(m.header.stamp.sec == self._stamp for m in self.listener.received[self.mask("calm")])

    def start_flood(self) -> None:
        def flood() -> None:
            frames = [image(scene(None), 1)] * 20
            while not self._stop.is_set():
                self._players["flood"].play("/m2a/input/flood/image", frames, pause=0.005)

        self._flooding = threading.Thread(target=flood)
        self._flooding.start()

    def end_flood(self) -> None:
        """The flooding camera dies: its process ends."""
        self._stop.set()
        if self._flooding is not None:
            self._flooding.join()
            self._flooding = None
            self._players.pop("flood").close()

    def close(self) -> None:
        self.end_flood()
        for player in self._players.values():
            player.close()
        self.listener.close()
        self.node.stop()


@pytest.fixture
def cameras(domain: int, tmp_path: Path) -> Iterator[Cameras]:
    made = Cameras(domain, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_every_camera_gets_its_turn_and_a_dead_one_delays_nobody(cameras: Cameras) -> None:
    assert cameras.ask_calm(), cameras.node.log
    cameras.start_flood()
    cameras.listener.wait_for_status(
        "m2a: camera flood",
        lambda status: int(status.get("dropped.replaced_by_newer", 0)) > 5 and int(status["published"]) > 1,
    )
    flood_before = cameras.answered("flood")
    for _ in range(4):
        assert cameras.ask_calm(), "a flooding camera starves the others"
    assert cameras.answered("flood") > flood_before
    dead = cameras.listener.wait_for_status("m2a: camera dead", lambda status: status["level"] == WARN)
    assert "no publisher" in dead["message"]

    cameras.end_flood()
    gone = cameras.listener.wait_for_status(
        "m2a: camera flood", lambda status: status["level"] == WARN and "no publisher" in status["message"]
    )
    assert int(gone["received"]) > 0
    for _ in range(3):
        assert cameras.ask_calm(), "a camera that died delays the others"
    assert cameras.answered("dead") == 0
