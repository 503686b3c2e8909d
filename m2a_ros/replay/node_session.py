"""What a node that is replayed through publishes and reports; `m2a_ros.replay.node_runner` starts it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import Executor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.errors import M2aError
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import stamp_of
from m2a_ros.images.conversions import image_to_array
from m2a_ros.outputs.label_info import LABEL_INFO
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.outputs.topics import map_topic, overlay_topic
from m2a_ros.process.children import Child

MATCH_TIMEOUT_S = 120.0
"""Discovery, loading the model and a busy machine."""

MISSING_S = 4.0
"""How long images that were sent and did not arrive are waited for on a busy machine."""

MAP_NAMES = tuple(spec.topic for spec in MAPS)
OVERLAY = "overlay"
_SPIN_S = 0.05
_QUIET_S = 1.0
_QUIET_REPORTS = 3
_REFUSAL = "cannot configure"
_DROPPED = "dropped."
_DEPTH = 10

Key = tuple[str, int, str]
"""Camera, stamp in nanoseconds, frame_id."""


class ReplayError(M2aError):
    """The node could not be replayed through."""


@dataclass(frozen=True)
class NodeSettings:
    """What a replay asks of the node.

    Attributes:
        parameters: those that are not at their defaults, by full name.
        calibrated: whether it gets the bag's ``camera_info``.
        work: folder for parameters and logs.
    """

    parameters: Mapping[str, Any]
    calibrated: bool
    work: Path


@dataclass(frozen=True)
class Setup:
    """How the node is run.

    Attributes:
        settings: what the replay asks of it.
        outputs: what is listened to: map names, and maybe ``OVERLAY``.
        reliable: whether images are sent reliably; sensors usually are not read so.
        sim_time: whether the node lives by ``/clock``.
        diagnostics_period: seconds of the node's clock.
    """

    settings: NodeSettings
    outputs: tuple[str, ...]
    reliable: bool
    sim_time: bool = False
    diagnostics_period: float = 0.1


@dataclass
class Outputs:
    """What came for one image so far.

    Attributes:
        arrays: maps by name.
        overlay: the JPEG stream, or None.
        arrived_ns: ``time.monotonic_ns()`` of the last output.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    overlay: np.ndarray | None = None
    arrived_ns: int = 0

    def has(self, outputs: Sequence[str]) -> bool:
        """Whether all of these are there."""
        return all(name in self.arrays or (name == OVERLAY and self.overlay is not None) for name in outputs)


@dataclass(frozen=True)
class Counts:
    """A camera's figures in the node's diagnostics.

    Attributes:
        received: frames that reached the node.
        camera_infos: calibrations that reached it.
        published: frames whose outputs were published.
        dropped: frames that were not, by reason.
        last_error: text of the last bad one.
    """

    received: int = 0
    camera_infos: int = 0
    published: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""

    @property
    def settled(self) -> bool:
        """Whether the node has dealt with everything that reached it."""
        return self.received == self.published + sum(self.dropped.values())

    def since(self, before: Counts) -> Counts:
        """What was added to an earlier state."""
        dropped = Counter(self.dropped) - Counter(before.dropped)
        return Counts(
            self.received - before.received,
            self.camera_infos - before.camera_infos,
            self.published - before.published,
            dropped,
            self.last_error,
        )


class NodeSession:
    """A configured and active node, and what it says; made by ``node_runner.node_session``."""

    def __init__(
        self, setup: Setup, cameras: Sequence[CameraTopic], node: Any, child: Child, executor: Executor
    ) -> None:
        """Subscribe to the outputs and diagnostics of the node in ``child`` with ``node``, which ``executor`` spins."""
        self._child = child
        self._executor = executor
        self._counts: dict[str, Counts] = {}
        self._reports = 0
        self.on_output: Callable[[Key, str, Any, int], None] = lambda *_: None
        """Called with image, output, message and ``time.monotonic_ns()`` of each output that comes."""
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for camera in cameras:
            for name in setup.outputs:
                kind, topic = (
                    (CompressedImage, overlay_topic(camera.camera))
                    if name == OVERLAY
                    else (Image, map_topic(camera.camera, name))
                )
                node.create_subscription(kind, topic, partial(self._take, camera.camera, name), qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, qos)
        self._unheard = {camera.camera for camera in cameras}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for camera in cameras:
            topic = map_topic(camera.camera, "label_info")
            node.create_subscription(LABEL_INFO, topic, partial(self._hear, camera.camera), latched)

    def spin(self) -> None:
        """Handle what has come, waiting for it for a moment.

        Raises:
            ReplayError: the node's process ended.
        """
        self._executor.spin_once(timeout_sec=_SPIN_S)
        if self._child.exit_code is not None:
            raise ReplayError(f"the node ended with exit code {self._child.exit_code}:\n{self._child.log_tail()}")

    def wait_until_heard(self) -> None:
        """Wait until the node publishes to every subscription of this process.

        The latched class maps tell: their subscriptions were made last, and discovery tells the node of subscriptions
        in the order in which they were made.

        Raises:
            ReplayError: that takes too long, or the node ended or cannot be configured.
        """
        deadline = time.monotonic() + MATCH_TIMEOUT_S
        while self._unheard:
            self.spin()
            log = self._child.log_tail()
            if _REFUSAL in log:
                raise ReplayError(f"the node cannot be configured:\n{log}")
            if time.monotonic() > deadline:
                raise ReplayError(f"the node did not appear within {MATCH_TIMEOUT_S:g} s:\n{log}")

    def counts(self, camera: str) -> Counts:
        """The camera's figures in the latest diagnostics."""
        return self._counts.get(camera, Counts())

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Spin until ``done`` or the time is over; whether it was done."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            self.spin()
        return True

    def wait_until_settled(self, cameras: Sequence[str], seconds: float, expected: int = 0) -> dict[str, Counts]:
        """The cameras' figures once the node has dealt with all that reached it.

        Args:
            cameras: names of the cameras.
            seconds: how long to wait at most.
            expected: images that should have reached the node, all cameras together; while some have not, they are
                given more time. 0 where nobody knows.
        """
        before: list[Counts] = []
        since, reports = time.monotonic(), self._reports

        def settled() -> bool:
            nonlocal before, since, reports
            now = [self.counts(camera) for camera in cameras]
            if now != before or not all(counts.settled for counts in now):
                before, since, reports = now, time.monotonic(), self._reports
                return False
            # On a busy machine, reports and images wait in queues: one report that looks final need not be, unless
            # everything that was sent has come.
            received = sum(counts.received for counts in now)
            quiet = _QUIET_S if not expected else MISSING_S if received < expected else 0.0
            return self._reports - reports >= _QUIET_REPORTS and time.monotonic() - since > quiet

        self.wait(settled, seconds)
        return {camera: self.counts(camera) for camera in cameras}

    def _hear(self, camera: str, message: Any) -> None:
        self._unheard.discard(camera)

    def _take(self, camera: str, name: str, message: Any) -> None:
        now = time.monotonic_ns()
        self.on_output((camera, stamp_of(message), message.header.frame_id), name, message, now)

    def _diagnose(self, message: DiagnosticArray) -> None:
        self._reports += 1
        for status in message.status:
            head, _, camera = status.name.rpartition(": camera ")
            if head:
                values = {pair.key: pair.value for pair in status.values}
                dropped = Counter(
                    {
                        key.removeprefix(_DROPPED): int(value)
                        for key, value in values.items()
                        if key.startswith(_DROPPED)
                    }
                )
                counts = Counts(
                    int(values["received"]),
                    int(values["camera_infos"]),
                    int(values["published"]),
                    dropped,
                    values["last_error"],
                )
                self._counts[camera] = counts


def put(outputs: Outputs, name: str, message: Any, arrived_ns: int) -> None:
    """Add an output's message to what came for an image."""
    if name == OVERLAY:
        outputs.overlay = np.frombuffer(message.data, np.uint8)
    else:
        outputs.arrays[name] = image_to_array(message)
    outputs.arrived_ns = max(outputs.arrived_ns, arrived_ns)
