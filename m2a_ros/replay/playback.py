"""A bag played to the running node by a process of its own: what modes realtime and peak share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m2a_core.errors import DataError
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.process.children import Child
from m2a_ros.replay.node_runner import RunningNode, node_session
from m2a_ros.replay.node_session import MAP_NAMES, Counts, ReplayError, Setup
from m2a_ros.replay.warm_up import WARM_UP_STAMP_NS, warm_up

SETTLE_S = 30.0
_NOW = 0.0
_STRAGGLERS_S = 0.5


class Playback:
    """A node that is warm, and the process that plays images to it."""

    def __init__(self, running: RunningNode, player: Child, cameras: Sequence[CameraTopic]) -> None:
        """Wait until both are ready.

        Raises:
            DataError: the player cannot read the bag.
            ReplayError: one of them ended or does not answer.
        """
        self.running = running
        self.session = running.session
        self.cameras = tuple(camera.camera for camera in cameras)
        self._player = player
        self.wait_for_answer()
        self.counts = dict(warm_up(running, cameras, MAP_NAMES, lambda: self.order({"blank": WARM_UP_STAMP_NS})))
        """The node's figures before anything was played."""
        self.session.wait(lambda: False, _STRAGGLERS_S)
        self.settle(0)

    def order(self, order: dict[str, Any], meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Have the player do something, handling what the node says; returns the player's answer."""
        self._player.order(json.dumps(order))
        return self.wait_for_answer(meanwhile)

    def wait_for_answer(self, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The player's next answer."""
        while (line := self._player.next_line(_NOW)) is None:
            self.session.spin()
            meanwhile()
        if not line:
            raise ReplayError(f"the player ended:\n{self._player.log_tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DataError(answer["error"])
        return answer

    def settle(self, sent: int) -> dict[str, Counts]:
        """The node's figures since the start or the last call, once it has dealt with the images that were sent."""
        expected = sent + sum(counts.received for counts in self.counts.values())
        now = self.session.wait_until_settled(self.cameras, SETTLE_S, expected)
        new = {camera: counts.since(self.counts[camera]) for camera, counts in now.items()}
        self.counts = now
        return new


@contextmanager
def playback(
    bag: Path, wanted: dict[str, str], cameras: Sequence[CameraTopic], setup: Setup, rate: float | None
) -> Iterator[Playback]:
    """Run the node and a player of the bag.

    Args:
        bag: the bag.
        wanted: topic -> camera, as for ``cameras.choose``.
        cameras: what that chose.
        setup: how the node is run.
        rate: how fast bag time runs; None for the system's time, with the images loaded beforehand.
    """
    with node_session(setup, cameras) as running:
        work = setup.settings.work
        settings = json.dumps(
            {"bag": str(bag), "wanted": wanted, "rate": rate, "calibrated": setup.settings.calibrated}
        )
        player = running.children.start(
            "player",
            ["m2a_ros.replay.player", settings],
            running.environment,
            work / "player.log",
            reads_stdout=True,
            takes_orders=True,
        )
        yield Playback(running, player, cameras)
