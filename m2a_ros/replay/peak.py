"""The highest rate at which the real node answers nearly every image, with images that were loaded beforehand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.replay.node_session import MAP_NAMES, Key, NodeSettings, Setup
from m2a_ros.replay.outcome import spread
from m2a_ros.replay.playback import Playback, playback
from m2a_ros.replay.player import SentLog

MAX_LOSS = 0.05
RESOLUTION = 1.05
"""Where the search ends: the lowest rate that failed over the highest that did not."""

_SINGLES = 5
_STEP = 1.4
_REACHED = 0.97
_MAX_TRIALS = 40
_LAST_ANSWERS_S = 0.3


def replay_peak(
    bag: Path,
    wanted: dict[str, str],
    cameras: Sequence[CameraTopic],
    node: NodeSettings,
    trial: tuple[int, int],
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Search the rate.

    Args:
        bag: the bag.
        wanted: topic -> camera, as for ``cameras.choose``.
        cameras: what that chose.
        node: what is asked of the node.
        trial: images in a trial, and how often the search is repeated.
        progress: told how many images were sent since the last call.

    Returns:
        The figures, for JSON.

    Raises:
        DataError: the bag is damaged or cut short.
        ReplayError: the node ended or cannot be configured.
    """
    images, repeats = trial
    setup = Setup(node, MAP_NAMES, reliable=False)
    with playback(bag, wanted, cameras, setup, None) as player:
        trials = Trials(player, node.work / "sent.csv", progress)
        # One image at a time first: about how long one takes.
        single = median(trials.trial(1.0, 1)["latency_ms"]["p50"] for _ in range(_SINGLES))
        found = [search(lambda rate: trials.trial(rate, images), 1e3 / single) for _ in range(repeats)]
    peaks = [peak for peak, _ in found]
    return {
        "max_loss": MAX_LOSS,
        "images_per_trial": images,
        "single_image_ms": single,
        "hz": {"median": round(median(peaks), 3), "min": round(min(peaks), 3), "max": round(max(peaks), 3)},
        "repeats": [{"hz": round(peak, 3), "trials": trials} for peak, trials in found],
    }


def search(trial: Callable[[float], dict[str, Any]], guess: float) -> tuple[float, list[dict[str, Any]]]:
    """Find the highest rate that loses less than ``MAX_LOSS``.

    Args:
        trial: tries a rate in hertz; ``loss`` and ``reached_hz`` of its result are looked at.
        guess: where to start, hertz.

    Returns:
        The highest rate that was reached without much loss, 0 if there is none; and all trials.
    """
    trials: list[dict[str, Any]] = []
    low, high, best, rate = 0.0, math.inf, 0.0, guess
    while len(trials) < _MAX_TRIALS and high > low * RESOLUTION:
        outcome = trial(rate)
        trials.append(outcome)
        # A player that cannot keep up has not tried the rate.
        if outcome["loss"] < MAX_LOSS and outcome["reached_hz"] > _REACHED * rate:
            low, best = rate, max(best, outcome["reached_hz"])
        else:
            high = rate
        if math.isinf(high):
            rate = low * _STEP
        elif not low:
            rate = high / _STEP
        else:
            rate = math.sqrt(low * high)
    return best, trials


class Trials:
    """Plays trials."""

    def __init__(self, player: Playback, log: Path, progress: Callable[[int], object]) -> None:
        """Take a running node; ``log`` is a file for the player."""
        self._player = player
        self._log = log
        self._progress = progress
        self._maps: Counter[Key] = Counter()
        self._arrived: dict[Key, int] = {}
        player.session.on_output = self._take

    def trial(self, rate: float, count: int) -> dict[str, Any]:
        """Send images at a rate in hertz; what came of them."""
        self._maps.clear()
        self._arrived.clear()
        done = self._player.order({"rate": rate, "count": count, "file": str(self._log)})
        counts = self._player.settle(count)
        self._player.session.wait(lambda: len(self._arrived) >= count, _LAST_ANSWERS_S)
        sent = {(image.camera, image.stamp_ns, image.frame_id): image for image in SentLog(self._log).new()}
        latencies = [(self._arrived[key] - sent[key].sent_ns) / 1e6 for key in sent if key in self._arrived]
        dropped: Counter[str] = Counter({"on_the_way": count - sum(c.received for c in counts.values())})
        for figures in counts.values():
            dropped.update(figures.dropped)
        dropped["on_the_way_back"] = sum(c.published for c in counts.values()) - len(latencies)
        self._progress(count)
        return {
            "hz": round(rate, 3),
            "reached_hz": round((count - 1) / done["seconds"], 3) if count > 1 else rate,
            "sent": count,
            "answered": len(latencies),
            "loss": 1 - len(latencies) / count,
            "lost": {reason: number for reason, number in sorted(dropped.items()) if number},
            "latency_ms": spread(latencies) if latencies else {"p50": 1e3 / rate},
        }

    def _take(self, key: Key, name: str, message: Any, arrived_ns: int) -> None:
        self._maps[key] += 1
        if self._maps[key] == len(MAP_NAMES):
            self._arrived[key] = arrived_ns
