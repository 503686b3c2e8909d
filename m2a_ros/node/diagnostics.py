"""``/diagnostics`` (REP-107) from a timer, so that a stalled node or a dead camera still reports."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from m2a_core.stream.answer_quality import FROZEN_NETWORK, NO_MASKS
from m2a_core.stream.drift import DRIFT
from m2a_core.stream.image_quality import BLACK, BLIND, BLURRED, COVERED, DARK, FROZEN, NOISY, SATURATED
from m2a_ros.camera.batching import OUTSIDE_WINDOW
from m2a_ros.camera.frame_slot import NO_SUBSCRIBER, REPLACED
from m2a_ros.camera.silence import LARGE_IMAGES
from m2a_ros.node.pipeline import BAD_FRAME_PREFIX, NOT_RECTIFIED_PREFIX
from m2a_ros.process.qos import mismatch_remedy
from m2a_ros.process.statistics import Snapshot

INTERNAL_ERROR = "internal_error"
OVERLOAD_S, OVERLOAD_SHARE, OVERLOAD_FRAMES = 3.0, 0.5, 8
"""Overload: over so many seconds, more than this share of at least so many frames was replaced by a later one."""
_HARMLESS = (NO_SUBSCRIBER,)
_DEGRADED = {
    BLACK: "the lens is covered, or there is no light",
    DARK: "too little light: raise exposure or gain, or switch the headlights on",
    SATURATED: "the sun shines into the lens, or the exposure is stuck",
    COVERED: "large parts show nothing: the lens is covered or misted, or there is fog",
    NOISY: "look at gain, cable and light",
    BLURRED: "the lens is dirty, wet or out of focus",
    FROZEN: "the camera repeats its last image: restart its driver",
}
_ANSWERS = {
    NO_MASKS: "no query of the network claims a pixel: the weights are damaged, or the image is unlike any it knows",
    FROZEN_NETWORK: "the network gives the same answer for different images: reload the model",
    DRIFT: "the network's answers are unlike those on the calibration frames: light, weather, country or camera are "
    "outside of what the thresholds were chosen on; look, and recalibrate on frames like these (m2a calibrate)",
}


@dataclass(frozen=True)
class CameraView:
    """What diagnostics look at, for one camera of an active node.

    Attributes:
        topic: the image topic that is read.
        publishers: how many publishers it has.
        snapshot: the camera's figures.
        cause_of_silence: tells why the publisher is not heard; asked when it is not.
    """

    topic: str
    publishers: int
    snapshot: Snapshot
    cause_of_silence: Callable[[], str] = lambda: LARGE_IMAGES


@dataclass(frozen=True)
class NodeView:
    """What diagnostics look at, for the node.

    Attributes:
        state: label of the lifecycle state.
        problem: why the node is not configured, or empty.
        facts: model, hash, back end ... by name.
        warnings: what is wrong around a node that works.
        notes: what is worth knowing and harmless.
    """

    state: str
    problem: str
    facts: Mapping[str, str]
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


class CameraDiagnostics:
    """Judges one camera; remembers the last look, for rates and for what is new."""

    def __init__(self, name: str) -> None:
        """Start; ``name`` is that of the status."""
        self._name = name
        self._before = Snapshot()
        self._before_when = time.monotonic()
        self._since = self._before_when
        self._unanswered_since: float | None = None
        self._looks: deque[tuple[float, int, int, int]] = deque([(self._since, 0, 0, 0)])

    def status(self, view: CameraView, frame_timeout: float) -> DiagnosticStatus:
        """The camera's status now; after ``frame_timeout`` seconds without a frame it counts as silent."""
        now, current = time.monotonic(), view.snapshot
        elapsed = max(now - self._before_when, 1e-6)
        age = now - (self._since if current.last_arrival is None else current.last_arrival)
        level, message = self._judge(view, age, age > frame_timeout)
        if (degraded := _degraded(_new(current.degraded, self._before.degraded))) is not None:
            message = degraded[1] if level == DiagnosticStatus.OK else f"{degraded[1]}; {message}"
            level = max(level, degraded[0])
        if (overload := self._overload(current, now)) and level == DiagnosticStatus.OK:
            level, message = DiagnosticStatus.WARN, overload
        if (stalled := self._stalled(current, now)) > max(frame_timeout, 0.0):
            level = DiagnosticStatus.ERROR
            message = (
                f"frames arrive but none was answered for {stalled:.1f} s: one takes longer than that (a very large "
                "image, a slow model), or the accelerator hangs, which the watchdog ends (watchdog.timeout)"
            )
        values = {
            "topic": view.topic,
            "publishers": view.publishers,
            "received": current.received,
            "camera_infos": current.camera_infos,
            "published": current.published,
            "input_rate_hz": f"{(current.received - self._before.received) / elapsed:.2f}",
            "output_rate_hz": f"{(current.published - self._before.published) / elapsed:.2f}",
            "seconds_since_last_frame": f"{age:.2f}",
            **{f"dropped.{reason}": count for reason, count in sorted(current.dropped.items())},
            **{f"without_markers.{reason}": count for reason, count in sorted(current.without_markers.items())},
            **{f"stamps.{reason}": count for reason, count in sorted(current.odd_stamps.items())},
            **{f"images.{reason}": count for reason, count in sorted(current.odd_images.items())},
            **{f"degraded.{reason}": count for reason, count in sorted(current.degraded.items())},
            **{f"unreadable.{what}": count for what, count in sorted(current.unreadable.items())},
            **{f"qos_mismatch.{where}": count for where, count in sorted(current.qos_mismatches.items())},
            **{name: f"{value:.2f}" for name, value in current.timings_ms.items()},
            "last_error": current.last_error,
        }
        self._before, self._before_when = current, now
        return make_status(self._name, level, message, values)

    def _overload(self, current: Snapshot, now: float) -> str:
        """What to say where most frames are replaced before their turn comes; empty where they are not."""
        self._looks.append((now, current.received, current.dropped.get(REPLACED, 0), current.published))
        while len(self._looks) > 2 and self._looks[1][0] <= now - OVERLOAD_S:
            self._looks.popleft()
        then, *before = self._looks[0]
        received, replaced, published = (b - a for a, b in zip(before, self._looks[-1][1:], strict=True))
        seconds = now - then
        if seconds < OVERLOAD_S or received < OVERLOAD_FRAMES or replaced <= OVERLOAD_SHARE * received:
            return ""
        return (
            f"overloaded: {published / seconds:.1f} of {received / seconds:.1f} frames a second are answered, the "
            "others are replaced by later ones; see `m2a benchmark`, or lower max_rate to what is needed"
        )

    def _stalled(self, current: Snapshot, now: float) -> float:
        """Seconds over which frames came and each only replaced the one before."""
        if _answered(current) > _answered(self._before):
            self._unanswered_since = None
        elif current.received > self._before.received and self._unanswered_since is None:
            self._unanswered_since = now
        return 0.0 if self._unanswered_since is None else now - self._unanswered_since

    def _judge(self, view: CameraView, age: float, silent: bool) -> tuple[bytes, str]:
        new = _new(view.snapshot.dropped, self._before.dropped)
        bad = sum(count for reason, count in new.items() if reason.startswith((BAD_FRAME_PREFIX, NOT_RECTIFIED_PREFIX)))
        unfit = _new(view.snapshot.qos_mismatches, self._before.qos_mismatches)
        unread = sorted(where for where in view.snapshot.qos_mismatches if where.startswith(f"{view.topic} "))
        broken = sum(count for reason, count in new.items() if reason.endswith("_error"))
        unplaced = sum(view.snapshot.without_markers.values()) - sum(self._before.without_markers.values())
        odd = sorted(_new(view.snapshot.odd_stamps, self._before.odd_stamps))
        if broken:
            return DiagnosticStatus.ERROR, f"{broken} frames failed: {view.snapshot.last_error}"
        if bad:
            return DiagnosticStatus.WARN, f"{bad} bad frames: {view.snapshot.last_error}"
        if unreadable := _new(view.snapshot.unreadable, self._before.unreadable):
            return DiagnosticStatus.WARN, (
                f"messages cannot be deserialised: {unreadable}; the publisher's type differs, or its data are damaged"
            )
        if silent and not view.publishers:
            return DiagnosticStatus.WARN, f"no publisher on {view.topic}: start the camera or remap the topic"
        if silent and view.snapshot.received:
            return DiagnosticStatus.WARN, f"no frame on {view.topic} for {age:.1f} s: its publisher stopped sending"
        if silent and unread:
            remedy = mismatch_remedy(view.topic, "subscription", unread[0].rpartition(" ")[2])
            return DiagnosticStatus.WARN, (
                f"no frame arrived for {age:.1f} s: a publisher's quality of service is incompatible ({unread[0]}): "
                f"{remedy}"
            )
        if silent:
            return DiagnosticStatus.WARN, (
                f"{view.topic} has a publisher but no frame arrived for {age:.1f} s: {view.cause_of_silence()}"
            )
        if unfit:
            return DiagnosticStatus.WARN, (
                f"incompatible quality of service: {', '.join(sorted(unfit))}; the log says what "
                "to set (qos_overrides.*)"
            )
        if OUTSIDE_WINDOW in new:
            return DiagnosticStatus.WARN, (
                f"{new[OUTSIDE_WINDOW]} frames were too far from the anchor camera's: check the camera's clock and "
                "rate, or raise batch.max_spread"
            )
        if unplaced:
            return DiagnosticStatus.WARN, (
                "unknown instances cannot be placed: camera_info or the camera's transform is missing or does not fit"
            )
        if odd:
            return DiagnosticStatus.WARN, (
                f"stamps cannot be used ({', '.join(odd)}): check the driver's stamps, the clocks and use_sim_time"
            )
        if new.keys() & set(_HARMLESS):
            return DiagnosticStatus.OK, "idle: nobody subscribes to an output"
        return DiagnosticStatus.OK, "running"


def _degraded(new: Mapping[str, int]) -> tuple[bytes, str] | None:
    """What to say of images and answers that cannot be trusted, by reason; None where there are none."""
    if not new:
        return None
    # What the camera shows comes first: an answer to a black image need not have masks.
    reason = max(new, key=lambda key: (key in _DEGRADED, new[key]))
    level = DiagnosticStatus.ERROR if reason in BLIND | {FROZEN_NETWORK} else DiagnosticStatus.WARN
    if reason in _ANSWERS:
        return level, f"{_ANSWERS[reason]} ({new[reason]} frames since the last look)"
    return level, f"the images are {reason} ({new[reason]} since the last look): {_DEGRADED[reason]}"


def _answered(snapshot: Snapshot) -> int:
    """Frames that were published, or looked at and dropped."""
    return snapshot.published + sum(n for reason, n in snapshot.dropped.items() if reason != REPLACED)


def _new(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was counted since the last look."""
    return {key: count - before.get(key, 0) for key, count in now.items() if count > before.get(key, 0)}


def node_status(name: str, view: NodeView) -> DiagnosticStatus:
    """The node's status."""
    if view.problem:
        level, message = DiagnosticStatus.ERROR, view.problem
    elif view.state == "active":
        level = DiagnosticStatus.WARN if view.warnings else DiagnosticStatus.OK
        message = "; ".join(["active", *view.warnings, *view.notes])
    else:
        level, message = DiagnosticStatus.WARN, f"{view.state}: nothing is processed until the node is active"
    return make_status(name, level, message, {"state": view.state, **view.facts})


def make_status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A status with its values as text."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=message, hardware_id="m2a", values=pairs)


def make_array(stamp: object, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """The message for ``/diagnostics``."""
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array
