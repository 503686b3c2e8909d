"""The report's section on what modes realtime and peak measure; empty for the others."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from m2a_ros.review.look import figure, percent, table
from m2a_ros.review.measured import MODE_REPORTS


def measured(summary: Mapping[str, Any]) -> str:
    """Losses, ages and rates in words; of mode peak, each trial of each search."""
    mode = summary["mode"]
    describe = MODE_REPORTS.get(mode)
    if describe is None:
        return ""
    lines = [f"{bag['name']}: {line}" for bag in summary["bags"] for line in describe(bag[mode])]
    texts = "".join(f"<p>{escape(line)}</p>" for line in lines)
    trials = "".join(_trials(bag["name"], bag[mode]) for bag in summary["bags"]) if mode == "peak" else ""
    return f'<div class="panel">{texts}</div>{trials}'


def _trials(name: str, figures: Mapping[str, Any]) -> str:
    rows = []
    for number, search in enumerate(figures["repeats"], start=1):
        for trial in sorted(search["trials"], key=lambda trial: trial["reached_hz"]):
            latency = trial["latency_ms"]
            rows.append(
                (
                    str(number), figure(trial["reached_hz"], 2), f"{trial['answered']} of {trial['sent']}",
                    percent(trial["loss"]), figure(latency["p50"], 1) if latency else "–",
                    figure(latency["p99"], 1) if latency else "–",
                )
            )  # fmt: skip
    caption = f"{name}: trials, by rate; borne is what loses less than {100 * figures['max_loss']:g} %"
    return table(caption, ("Search", "Images a second", "Answered", "Lost", "Latency p50 ms", "p99 ms"), rows)
