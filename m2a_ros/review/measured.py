"""What modes realtime and peak measured, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from m2a_core.reporting.page import count

_STALLED_MS = 50.0
"""What waiting for the disk is worth a line."""

_SLOPE_FROM_S = 120.0
"""Extrapolated to an hour from seconds, a node that warms up looks like one that leaks."""


def realtime_lines(figures: Mapping[str, Any]) -> list[str]:
    """Lines for the terminal on the figures of ``realtime.replay_realtime``."""
    lost = ", ".join(f"{number} {reason}" for reason, number in figures["lost"].items()) or "none"
    sent = count(figures["sent"], "image")
    lines = [f"{figures['answered']} of {sent} answered at pace {figures['rate']:g}; lost: {lost}"]
    lines += [
        f"{what} {_spread(figures[key])}"
        for key, what in (
            ("latency_ms", "latency"),
            ("age_ms", "age of the newest answer"),
            ("player_late_ms", "player late"),
        )
        if figures[key]
    ]
    memory = figures["memory"]
    if memory["samples"]:
        slope, known = memory["slope_mib_per_hour"], figures["seconds"] >= _SLOPE_FROM_S
        text = f"slope {slope:+.0f} MiB an hour" if slope is not None and known else "too short a run for a slope"
        grown = f"{memory['first_mib']} to {memory['last_mib']} MiB in {figures['seconds']:.0f} s"
        lines.append(f"memory of the node {grown}, {text}")
    if figures["stamps_ambiguous"]:
        lines.append(f"{count(figures['stamps_ambiguous'], 'image')} with a stamp that another has, too")
    if figures["answers_ambiguous"]:
        unsure = count(figures["answers_ambiguous"], "answer")
        lines.append(f"{unsure} that may be of any of several images of one stamp: left out of the latencies")
    if figures["gaps_shortened"]:
        lines.append(f"{count(figures['gaps_shortened'], 'pause')} in the bag shortened to 5 s")
    if figures["recording_stalled_ms"] >= _STALLED_MS:
        lines.append(f"{figures['recording_stalled_ms']} ms spent waiting for the disk: latencies may be too long")
    if strange := figures["outputs_of_no_image"]["count"]:
        first = "; ".join(figures["outputs_of_no_image"]["first"])
        lines.append(f"WRONG: {count(strange, 'output')} of images that were never sent ({first})")
    return lines


def peak_lines(figures: Mapping[str, Any]) -> list[str]:
    """Lines for the terminal on the figures of ``peak.replay_peak``."""
    hz = figures["hz"]
    return [
        f"{hz['median']:.2f} images a second with less than {100 * figures['max_loss']:g} % lost "
        f"(median of {count(len(figures['repeats']), 'search', 'searches')}, {hz['min']:.2f} to {hz['max']:.2f})"
    ]


def _spread(values: Mapping[str, float]) -> str:
    return " / ".join(f"{values[name]:.1f}" for name in ("p50", "p95", "p99")) + " ms (p50 / p95 / p99)"


MODE_REPORTS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {"realtime": realtime_lines, "peak": peak_lines}
SETTINGS = {"offline": (), "lockstep": ("timeout_s",), "realtime": ("rate",), "peak": ("trial_frames", "repeats")}
"""Mode -> those of the ``settings`` in ``summary.json`` that it reads."""
