"""Every image of a bag through the real node over DDS; the next one is sent when the outputs of the last came back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sensor_msgs.msg import CameraInfo

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import UNDECODABLE_MESSAGE, Problem, Recorded, image_messages, stamp_of
from m2a_ros.bag.reader import Bag, UndecodableMessage, decode
from m2a_ros.replay.node_runner import RunningNode, camera_info_topic, input_topic, node_session
from m2a_ros.replay.node_session import (
    MAP_NAMES,
    MATCH_TIMEOUT_S,
    OVERLAY,
    Counts,
    Key,
    NodeSettings,
    Outputs,
    ReplayError,
    Setup,
    put,
)
from m2a_ros.replay.published_frame import PublishedFrame
from m2a_ros.replay.recorder import BagRecorder
from m2a_ros.replay.threads import BackgroundWriter, Prefetcher

NO_ANSWER = "no_answer"
STAMP_OF_LOST_FRAME = "stamp_of_lost_frame"
_OUTPUTS = (*MAP_NAMES, OVERLAY)
_READ_AHEAD = 4
_AGAIN_S = 1.0
# Four bytes of encapsulation, then seconds and nanoseconds of the header's stamp.
_AFTER_STAMP = slice(12, None)
_UNWRITTEN = 2


def replay_lockstep(
    bag: Bag,
    cameras: Sequence[CameraTopic],
    node: NodeSettings,
    timeout_s: float,
    recorder: BagRecorder,
    progress: Callable[[int], object],
) -> None:
    """Replay a bag.

    Args:
        bag: the bag.
        cameras: its topics to evaluate.
        node: what is asked of the node.
        timeout_s: seconds after which an image counts as lost.
        recorder: where the answers go; an entered context.
        progress: told how many messages were done since the last call.

    Raises:
        DataError: the bag is damaged or cut short.
        ReplayError: the node ended or cannot be configured.
        OSError: the answers cannot be written.
    """
    setup = Setup(node, _OUTPUTS, reliable=True)
    with node_session(setup, cameras) as running, BackgroundWriter(_UNWRITTEN) as writer:
        step = Lockstep(running, cameras, timeout_s)
        with Prefetcher(image_messages(bag, cameras, calibrated=node.calibrated), _READ_AHEAD) as messages:
            for recorded in messages:
                stamp, outcome = step.ask(recorded)
                if isinstance(outcome, PublishedFrame):
                    writer.call(recorder.add_frame, outcome)
                else:
                    writer.call(recorder.add_problem, recorded, stamp, outcome)
                progress(1)


class Lockstep:
    """Sends one image at a time and waits for what becomes of it."""

    def __init__(self, running: RunningNode, cameras: Sequence[CameraTopic], timeout_s: float) -> None:
        """Wait until the node answers on every topic."""
        self._session = running.session
        self._timeout_s = timeout_s
        self._publishers = {c.camera: running.node.create_publisher(*input_topic(c), 1) for c in cameras}
        self._infos = {c.camera: running.node.create_publisher(CameraInfo, camera_info_topic(c), 1) for c in cameras}
        self._calibrations: dict[str, bytes] = {}
        self._counts = {c.camera: Counts() for c in cameras}
        self._lost: set[Key] = set()
        self._credit: Counter[str] = Counter()
        self._key: Key | None = None
        self._outputs = Outputs()
        self._session.on_output = self._keep
        self._session.wait_until_heard()
        self._session.wait(lambda: all(p.get_subscription_count() for p in self._publishers.values()), MATCH_TIMEOUT_S)

    def ask(self, recorded: Recorded) -> tuple[int | None, PublishedFrame | Problem]:
        """Send an image; its stamp in nanoseconds and the node's answer, or why there is none."""
        try:
            header = decode(recorded.data, recorded.msgtype)
        except UndecodableMessage as error:
            # No publisher sends such bytes, so the node need not face them.
            return None, Problem(UNDECODABLE_MESSAGE, str(error))
        camera, stamp = recorded.camera, stamp_of(header)
        self._key = (camera, stamp, header.header.frame_id)
        if self._key in self._lost:
            text = "an image of this stamp got no answer in time; a late answer could be mistaken for this one's"
            return stamp, Problem(STAMP_OF_LOST_FRAME, text)
        self._calibrate(camera, recorded.camera_info)
        self._outputs = Outputs()
        sent = time.monotonic_ns()
        self._publishers[camera].publish(recorded.data)
        self._session.wait(lambda: self._outputs.has(_OUTPUTS) or bool(self._new_drops(camera)), self._timeout_s)
        if self._outputs.has(_OUTPUTS):
            return stamp, PublishedFrame(
                camera=camera,
                recorded_ns=recorded.recorded_ns,
                stamp_ns=stamp,
                frame_id=header.header.frame_id,
                arrays={name: self._outputs.arrays[name] for name in MAP_NAMES},
                overlay=self._outputs.overlay,
                latencies_ms={"round_trip": (self._outputs.arrived_ns - sent) / 1e6},
                restamped=recorded.restamped,
            )
        if drops := self._new_drops(camera):
            self._counts[camera] = self._session.counts(camera)
            return stamp, Problem(next(iter(drops)), self._counts[camera].last_error)
        self._lost.add(self._key)
        self._credit[camera] += 1
        return stamp, Problem(NO_ANSWER, f"no answer within {self._timeout_s:g} s")

    def _calibrate(self, camera: str, info: bytes) -> None:
        """Send a calibration that is not the last one, and wait until the node has it."""
        if not info or info[_AFTER_STAMP] == self._calibrations.get(camera):
            return
        self._calibrations[camera] = info[_AFTER_STAMP]
        before = self._session.counts(camera).camera_infos
        deadline = time.monotonic() + self._timeout_s
        while self._session.counts(camera).camera_infos == before:
            if time.monotonic() > deadline:
                raise ReplayError(f"the node did not take camera_info of '{camera}' within {self._timeout_s:g} s")
            self._infos[camera].publish(info)
            self._session.wait(lambda: self._session.counts(camera).camera_infos > before, _AGAIN_S)

    def _new_drops(self, camera: str) -> Counter[str]:
        """Images of the camera that the node dropped since the last one that is accounted for, by reason."""
        now = self._session.counts(camera)
        before: Counts = self._counts[camera]
        new = Counter(now.dropped) - Counter(before.dropped)
        if new and self._credit[camera] >= new.total():
            # A frame that had counted as lost was dropped after all.
            self._credit[camera] -= new.total()
            self._counts[camera] = now
            return Counter()
        return new

    def _keep(self, key: Key, name: str, message: Any, arrived_ns: int) -> None:
        if key == self._key:
            put(self._outputs, name, message, arrived_ns)
