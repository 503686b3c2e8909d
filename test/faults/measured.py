"""Seconds that the campaign's cases take of the node, each against what docs/reliability.md promises."""

from __future__ import annotations

PROMISES = {
    "start of the process to the first map, shipped model": 5.0,
    "dead camera to diagnostics": 2.0,
    "stalled network to diagnostics": 2.0,
    "failing network to diagnostics": 2.0,
    "full disk to diagnostics": 2.0,
    "end, deactivation or shutdown while the network hangs": 3.0,
    "SIGKILL of the network's process to the next map": 5.0,
    "end to the last breath under traffic": 3.0,
}

_taken: list[tuple[str, float]] = []


def measure(promise: str, seconds: float) -> None:
    """Note what one case took."""
    assert promise in PROMISES, promise
    _taken.append((promise, seconds))


def take() -> list[tuple[str, float]]:
    """What was noted since the last call."""
    taken = list(_taken)
    _taken.clear()
    return taken
