"""A bag at its own pace, or a multiple of it, to the real node on ``/clock``: what gets lost, how late answers come.

Times are those of the steady clock (``time.monotonic_ns``), which processes of one machine share; never of ``/clock``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import UNDECODABLE_MESSAGE, Problem, Recorded
from m2a_ros.process.memory import MemoryWatch
from m2a_ros.replay.matching import SentImages
from m2a_ros.replay.node_session import MAP_NAMES, Counts, Key, NodeSettings, Outputs, Setup, put
from m2a_ros.replay.outcome import spread
from m2a_ros.replay.playback import playback
from m2a_ros.replay.player import Sent, SentLog
from m2a_ros.replay.published_frame import PublishedFrame
from m2a_ros.replay.recorder import BagRecorder
from m2a_ros.replay.threads import BackgroundWriter
from m2a_ros.replay.unmatched import UnmatchedOutputs

NOT_ANSWERED = "not_answered"
_REPORTS_PER_S = 4.0
_PERIODS = (0.1, 60.0)
_LAST_ANSWERS_S = 0.5
_UNWRITTEN = 32


def replay_realtime(
    bag: Path,
    wanted: dict[str, str],
    cameras: Sequence[CameraTopic],
    node: NodeSettings,
    rate: float,
    recorder: BagRecorder,
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Play a bag once.

    Args:
        bag: the bag.
        wanted: topic -> camera, as for ``cameras.choose``.
        cameras: what that chose.
        node: what is asked of the node.
        rate: 1 for the bag's own pace.
        recorder: where the answers go; an entered context.
        progress: told how many images were answered since the last call.

    Returns:
        The figures, for JSON.

    Raises:
        DataError: the bag is damaged or cut short.
        ReplayError: the node ended or cannot be configured.
        OSError: the answers cannot be written.
    """
    period = min(max(rate / _REPORTS_PER_S, _PERIODS[0]), _PERIODS[1])
    setup = Setup(node, MAP_NAMES, reliable=False, sim_time=True, diagnostics_period=period)
    log = node.work / "sent.csv"
    log.unlink(missing_ok=True)
    with playback(bag, wanted, cameras, setup, rate) as player, BackgroundWriter(_UNWRITTEN) as writer:
        listener = Listener(SentLog(log), recorder, writer, progress)
        player.session.on_output = listener.take
        memory = MemoryWatch(player.running.child.pid)
        start = time.monotonic()
        done = player.order({"play": str(log)}, memory.sample)
        seconds = time.monotonic() - start
        counts = player.settle(listener.sent())
        player.session.wait(lambda: False, _LAST_ANSWERS_S)
        figures = listener.finish(counts, {camera.camera: camera.topic for camera in cameras})
    return {
        "rate": rate,
        "seconds": round(seconds, 3),
        **figures,
        **done,
        "memory": memory.summary(),
    }


class Listener:
    """Takes the node's outputs, and brings them together with what was sent."""

    def __init__(
        self, log: SentLog, recorder: BagRecorder, writer: BackgroundWriter, progress: Callable[[int], object]
    ) -> None:
        """Start with nothing sent."""
        self._log = log
        self._recorder, self._writer, self._progress = recorder, writer, progress
        self._sent = SentImages()
        self._unsent: list[Sent] = []
        self._waiting: dict[Key, Outputs] = {}
        self._answered = 0
        self._ambiguous = 0
        self._newest: dict[str, int] = {}
        self._latencies: list[float] = []
        self._ages: list[float] = []
        self._stalled_s = 0.0
        self._unmatched = UnmatchedOutputs()

    def take(self, key: Key, name: str, message: Any, arrived_ns: int) -> None:
        """Keep an output; an image's answer is complete with the last of its maps."""
        self._unmatched.came(key, name)
        outputs = self._waiting.setdefault(key, Outputs())
        if name in outputs.arrays:
            # A map of the image before was lost, and this is the next one of its stamp.
            outputs = self._waiting[key] = Outputs()
        put(outputs, name, message, arrived_ns)
        if not outputs.has(MAP_NAMES):
            return
        del self._waiting[key]
        # The player writes an image down before it sends it: now all are there that this may answer.
        self._read()
        match = self._sent.match(key, outputs.arrived_ns)
        if match is not None:  # else it answers a black image of the warm-up
            self._answer(*match, outputs)

    def sent(self) -> int:
        """Images that were sent so far."""
        self._read()
        return len(self._sent)

    def finish(self, counts: dict[str, Counts], topics: dict[str, str]) -> dict[str, Any]:
        """Note down what was not answered, and sum up.

        Args:
            counts: the node's figures by camera.
            topics: the images' topics by camera.
        """
        self._read()
        for image in self._sent.unanswered():
            text = "no answer came; realtime.lost in result.json counts the reasons"
            self._problem(image, image.stamp_ns, Problem(NOT_ANSWERED, text), topics)
        for image in self._unsent:
            self._problem(image, None, Problem(UNDECODABLE_MESSAGE, "the bytes are not an image message"), topics)
        answered, sent = self._answered, len(self._sent)
        lost = Counter({"on_the_way": sent - sum(c.received for c in counts.values())})
        for figures in counts.values():
            lost.update(figures.dropped)
        lost["on_the_way_back"] = sum(c.published for c in counts.values()) - answered
        return {
            "sent": sent,
            "answered": answered,
            "lost": {reason: count for reason, count in sorted(lost.items()) if count},
            "latency_ms": spread(self._latencies) if self._latencies else None,
            "age_ms": spread(self._ages) if self._ages else None,
            "player_late_ms": spread([(i.sent_ns - i.due_ns) / 1e6 for i in self._sent]) if sent else None,
            "stamps_ambiguous": self._sent.sharing_a_stamp(),
            "answers_ambiguous": self._ambiguous,
            "recording_stalled_ms": round(1e3 * self._stalled_s, 1),
            "outputs_of_no_image": self._unmatched.figures(),
        }

    def _read(self) -> None:
        for image in self._log.new():
            if image.sent_ns:
                self._unmatched.sent((image.camera, image.stamp_ns, image.frame_id))
                self._sent.add(image)
            else:
                self._unsent.append(image)

    def _answer(self, image: Sent, sure: bool, outputs: Outputs) -> None:
        self._answered += 1
        latencies = {}
        if sure:
            latencies["latency"] = (outputs.arrived_ns - image.sent_ns) / 1e6
            self._latencies.append(latencies["latency"])
            if image.camera in self._newest:
                latencies["age"] = (outputs.arrived_ns - self._newest[image.camera]) / 1e6
                self._ages.append(latencies["age"])
            self._newest[image.camera] = image.due_ns
        else:
            self._ambiguous += 1
        arrays = {name: outputs.arrays[name] for name in MAP_NAMES}
        frame = PublishedFrame(
            image.camera,
            image.recorded_ns,
            image.stamp_ns,
            image.frame_id,
            arrays,
            None,
            latencies,
            restamped=image.restamped,
        )
        before = time.monotonic()
        self._writer.call(self._recorder.add_frame, frame)
        self._stalled_s += time.monotonic() - before
        self._progress(1)

    def _problem(self, image: Sent, stamp_ns: int | None, problem: Problem, topics: dict[str, str]) -> None:
        recorded = Recorded(image.camera, topics[image.camera], "", image.recorded_ns, b"")
        self._writer.call(self._recorder.add_problem, recorded, stamp_ns, problem)
