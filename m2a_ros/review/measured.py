"""What modes realtime and peak measured, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_STALLED_MS = 50.0
"""What waiting for the disk is worth a line."""


def realtime_lines(figures: Mapping[str, Any]) -> list[str]:
    """Lines for the terminal on the figures of ``realtime.replay_realtime``."""
    lost = ", ".join(f"{count} {reason}" for reason, count in figures["lost"].items()) or "none"
    lines = [f"{figures['answered']} of {figures['sent']} images answered at pace {figures['rate']:g}; lost: {lost}"]
    lines += [
        f"{what} {_spread(figures[key])}"
        for key, what in (
            ("latency_ms", "latency"),
            ("age_ms", "age of what was known"),
            ("player_late_ms", "player late"),
        )
        if figures[key]
    ]
    memory = figures["memory"]
    if memory["slope_mib_per_hour"] is not None:
        slope = f"{memory['slope_mib_per_hour']:+.0f} MiB an hour over {figures['seconds'] / 2:.0f} s"
        lines.append(f"memory of the node {memory['first_mib']} to {memory['last_mib']} MiB, slope {slope}")
    for key, what, least in (
        ("stamps_ambiguous", "images share their stamp with another and are left out of the latencies", 1),
        ("gaps_shortened", "pauses in the bag were shortened to 5 s", 1),
        ("recording_stalled_ms", "ms were spent waiting for the disk: latencies may be too long", _STALLED_MS),
    ):
        if figures[key] >= least:
            lines.append(f"{figures[key]} {what}")
    return lines


def peak_lines(figures: Mapping[str, Any]) -> list[str]:
    """Lines for the terminal on the figures of ``peak.replay_peak``."""
    hz = figures["hz"]
    return [
        f"{hz['median']:.2f} images a second with less than {100 * figures['max_loss']:g} % lost "
        f"(median of {len(figures['repeats'])} searches, {hz['min']:.2f} to {hz['max']:.2f})"
    ]


def _spread(values: Mapping[str, float]) -> str:
    return " / ".join(f"{values[name]:.1f}" for name in ("p50", "p95", "p99")) + " ms (p50 / p95 / p99)"


MODE_REPORTS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {"realtime": realtime_lines, "peak": peak_lines}
