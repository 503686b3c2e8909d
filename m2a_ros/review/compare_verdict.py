"""The answer of a comparison: whether B is better than A, in words, from differences and their intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MIN_BLOCKS = 8
"""With fewer blocks, percentiles of draws say little; the answer is then that it cannot be told."""

METRICS = {
    "auprc": ("AuPRC", +1),
    "fpr95": ("FPR95", -1),
    "missed": ("missed anomalies", -1),
    "false": ("false pixels", -1),
}
"""Metric -> its name for people, and whether more (+1) or less (-1) is better. The last two are shares of pixels on the
wrong side of each model's own threshold, pooled over frames."""

Differences = Mapping[str, Mapping[str, float]]


def decide(metrics: Differences, frames: int, blocks: int) -> tuple[str, str]:
    """Verdict and answer.

    AuPRC decides where its interval excludes 0. Else the other metrics do, if all that changed for certain point one
    way: a model that ranks pixels alike may still use a better threshold.

    Args:
        metrics: metric -> ``difference`` (B - A), ``low`` and ``high``; fractions, NaN where undefined.
        frames: paired frames.
        blocks: periods that were resampled.

    Returns:
        ``better``, ``worse`` or ``unclear``; and sentences.
    """
    basis = f"{frames} frames in {blocks} {'block' if blocks == 1 else 'blocks'}"
    if not np.isfinite(metrics["auprc"]["low"]):
        return "unclear", f"Cannot tell: AuPRC is undefined on too many of the draws from {basis}."
    if blocks < MIN_BLOCKS:
        return "unclear", (
            f"Cannot tell: {basis} are too few for an interval ({change('auprc', metrics)}); at least {MIN_BLOCKS} "
            "blocks are needed."
        )
    signs = {name: _direction(name, of) for name, of in metrics.items()}
    sign = signs["auprc"]
    others = [name for name in metrics if name != "auprc" and signs[name]]
    if sign:
        against = [METRICS[name][0] for name in others if signs[name] == -sign]
        but = f" But {' and '.join(against)} changed the other way." if against else ""
        return _word(sign), f"{_claim(sign)}: {change('auprc', metrics)}, over {basis}.{but}"
    clear = "; ".join(f"{change(name, metrics)}" for name in others)
    same = f"AuPRC is inconclusive ({change('auprc', metrics)})"
    directions = {signs[name] for name in others}
    if len(directions) == 1:
        sign = directions.pop()
        return _word(sign), f"{_claim(sign)}: {clear}, over {basis}. {same}."
    if directions:
        return "unclear", f"A trade: {clear}, over {basis}. {same}; which matters more is your decision."
    return (
        "unclear",
        f"Cannot tell whether B is better than A on these roads: {change('auprc', metrics)}, over {basis}.",
    )


def change(name: str, metrics: Differences) -> str:
    """A metric's difference and interval in words."""
    of = metrics[name]
    difference, low, high = (100 * of[key] for key in ("difference", "low", "high"))
    return f"{METRICS[name][0]} {difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def _direction(name: str, of: Mapping[str, float]) -> int:
    """+1 if B is better for certain, -1 if it is worse, 0 if that cannot be told."""
    if of["low"] > 0:
        return METRICS[name][1]
    return -METRICS[name][1] if of["high"] < 0 else 0


def _word(sign: int) -> str:
    return "better" if sign > 0 else "worse"


def _claim(sign: int) -> str:
    return f"{'Yes' if sign > 0 else 'No'}: B is {_word(sign)} than A on these roads"
