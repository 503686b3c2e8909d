"""Outputs that belong to no image that was sent: another node on the topics, or one that answers twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

from m2a_ros.replay.node_session import Key
from m2a_ros.replay.warm_up import WARM_UP_STAMP_NS

_NAMED = 5


class UnmatchedOutputs:
    """Counts outputs by image."""

    def __init__(self) -> None:
        """Start with none."""
        self._came: Counter[tuple[Key, str]] = Counter()
        self._sent: Counter[Key] = Counter()

    def came(self, key: Key, name: str) -> None:
        """Note down an output."""
        if key[1] != WARM_UP_STAMP_NS:
            self._came[key, name] += 1

    def sent(self, key: Key) -> None:
        """Note down an image."""
        self._sent[key] += 1

    def figures(self) -> dict[str, Any]:
        """``count`` of such outputs, and sentences on the ``first``, as JSON values."""
        count, first = 0, []
        for (key, name), came in self._came.items():
            more = came - self._sent[key]
            if more > 0:
                count += more
                what = f"came {came} times" if self._sent[key] else f"of frame '{key[2]}' was never sent"
                first.append(f"{name} of {key[0]}: stamp {key[1]} {what}")
        return {"count": count, "first": first[:_NAMED]}
