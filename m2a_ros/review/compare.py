"""Two replays of the same bags, paired frame by frame: is B better than A on these roads?

Frames of a drive resemble their neighbours, so frames are not resampled one by one: stretches of a bag are (block
bootstrap, Kuensch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989), all cameras together,
and both replays with the same draw. Intervals are percentiles of the differences of 2000 draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import plain
from m2a_ros.review.compare_verdict import METRICS, decide
from m2a_ros.review.histograms import BINS, missed_at, pooled_metrics
from m2a_ros.review.replayed import Key, Replayed

DRAWS = 2000
DEFAULT_BLOCK_S = 10.0
_CONFIDENCE = 0.95
_SEED = 20240501
_SHOWN = 5
"""Frames that changed most, to each side."""


def compare(a: Replayed, b: Replayed, block_s: float | None = None, draws: int = DRAWS) -> dict[str, Any]:
    """Compare two replays.

    Args:
        a: the one in use.
        b: the candidate.
        block_s: length of the stretches that are resampled, seconds; None for the segments' length that both were
            replayed with, else 10.
        draws: of the bootstrap.

    Returns:
        JSON values: ``answer`` (in words), ``verdict`` (``better``, ``worse``, ``unclear``), ``metrics`` (value of A
        and B, difference B - A, low and high), ``missed_at_equal_false`` (the same of the anomalies that are missed
        where both models' thresholds let as many false pixels through as A's own does), ``thresholds`` (of the
        models), ``blocks``, ``frames`` (paired, and in one only), ``segments`` (block by block), ``named_segments``
        (by the segments that the replays name alike), ``largest`` (frames with the largest changes), ``binning``
        (what binning costs at most).

    Raises:
        ConfigError: the replays are of different bags or scored by different truth.
        DataError: they have no frame in common.
    """
    _check(a, b)
    common = [key for key in a.frames if key in b.frames]
    if not common:
        raise DataError(f"{a.folder} and {b.folder}: no scored frame in common (by bag, camera and stamp)")
    for key in common:
        if any(a.frames[key][kind] != b.frames[key][kind] for kind in ("n_anomaly", "n_known")):
            raise ConfigError(
                f"{a.folder} and {b.folder}: frame {key[0]}/{key[1]}/{key[2]} has another ground truth in each; replay "
                "both with the same"
            )
    block_s = block_s or _common_segment_s(a, b)
    blocks = _blocks([a.frames[key] for key in common], block_s)
    names = sorted(set(blocks))
    index = np.array([names.index(block) for block in blocks])
    sums = [_Sums(of, common, index, len(names)) for of in (a, b)]
    weights = np.random.default_rng(_SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    value, drawn = ([s.metrics(w) for s in sums] for w in (np.ones((1, len(names))), weights))
    metrics = {name: _difference(*([of[name] for of in sides] for sides in (value, drawn))) for name in METRICS}
    equal = [
        [s.missed_at(w, of[0]["false"]) for s in sums]
        for w, of in ((np.ones((1, len(names))), value), (weights, drawn))
    ]
    verdict, answer = decide(metrics, len(common), len(names))
    frames = {"paired": len(common), "only_a": len(a.frames) - len(common), "only_b": len(b.frames) - len(common)}
    return {
        "verdict": verdict,
        "answer": answer,
        "a": a.name,
        "b": b.name,
        "metrics": plain(metrics),
        "missed_at_equal_false": plain(_difference(*equal)),
        "thresholds": {side: of.summary["truth"].get("model_threshold") for side, of in (("a", a), ("b", b))},
        "confidence": _CONFIDENCE,
        "draws": draws,
        "block_s": block_s,
        "blocks": len(names),
        "frames": frames,
        "segments": _segments(names, sums),
        "named_segments": _named_segments(a, b, common),
        "largest": _largest(a, b, common),
        "binning": _binning(a, b, sums, frames),
    }


def _difference(value: Sequence[np.ndarray], drawn: Sequence[np.ndarray]) -> dict[str, float]:
    """A metric of A and B, their difference and its interval, from both values and both draws [N]."""
    before, after = (float(of[0]) for of in value)
    differences = drawn[1] - drawn[0]
    usable = differences[np.isfinite(differences)]
    tail = 100 * (1 - _CONFIDENCE) / 2
    enough = len(usable) > len(differences) / 2
    low, high = np.percentile(usable, (tail, 100 - tail)) if enough else (np.nan, np.nan)
    return {"a": before, "b": after, "difference": after - before, "low": float(low), "high": float(high)}


def _check(a: Replayed, b: Replayed) -> None:
    bags = [{bag["name"]: bag["sha256"] for bag in of.summary["bags"]} for of in (a, b)]
    other = sorted(name for name in bags[0].keys() & bags[1].keys() if bags[0][name] != bags[1][name])
    if other or not bags[0].keys() & bags[1].keys():
        what = f"bag {other[0]} is not the same" if other else "no bag in common"
        raise ConfigError(f"{a.folder} and {b.folder}: {what} (by SHA-256); replay the same bags with both")


class _Sums:
    """Counts by block: scores [blocks, 2, BINS], and pixels that are missed, false, anomalous and known [blocks, 4]."""

    def __init__(self, of: Replayed, keys: Sequence[Key], index: np.ndarray, blocks: int) -> None:
        self.blocks = blocks
        self._scores = np.zeros((blocks, 2 * BINS))
        self._pixels = np.zeros((blocks, 4))
        for key, block in zip(keys, index, strict=True):
            bins, counts = of.histograms[key]
            self._scores[block, bins] += counts
            frame = of.frames[key]
            n_anomaly, n_known = frame["n_anomaly"], frame["n_known"]
            wrong = ((frame["missed"] or 0.0) * n_anomaly, (frame["false"] or 0.0) * n_known)
            self._pixels[block] += (*wrong, n_anomaly, n_known)

    def metrics(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric, float64 [N], of the blocks taken ``weights`` [N, blocks] times."""
        pixels = weights @ self._pixels
        found: dict[str, list[np.ndarray]] = {"auprc": [], "fpr95": []}
        for _, anomaly, known in self._pooled(weights):
            pooled = pooled_metrics(anomaly, known)
            found["auprc"].append(pooled.auprc)
            found["fpr95"].append(pooled.fpr95)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = {"missed": pixels[:, 0] / pixels[:, 2], "false": pixels[:, 1] / pixels[:, 3]}
        return {**{name: np.concatenate(parts) for name, parts in found.items()}, **shares}

    def missed_at(self, weights: np.ndarray, false: np.ndarray) -> np.ndarray:
        """Share of anomalous pixels, float64 [N], missed where a share ``false`` [N] of the known ones is not."""
        return np.concatenate([missed_at(anomaly, known, false[of]) for of, anomaly, known in self._pooled(weights)])

    def _pooled(self, weights: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Counts of anomalous and known pixels, [n, BINS], of so many draws at a time as memory holds."""
        for start in range(0, len(weights), 100):
            draws = slice(start, start + 100)
            scores = (weights[draws] @ self._scores).reshape(-1, 2, BINS)
            yield draws, scores[:, 0], scores[:, 1]


def _blocks(frames: Sequence[Mapping[str, Any]], seconds: float) -> list[tuple[str, int]]:
    first: dict[str, int] = {}
    for frame in frames:
        first[frame["bag"]] = min(first.get(frame["bag"], frame["recorded_ns"]), frame["recorded_ns"])
    return [(f["bag"], (f["recorded_ns"] - first[f["bag"]]) // round(1e9 * seconds)) for f in frames]


def _common_segment_s(a: Replayed, b: Replayed) -> float:
    lengths = {of.summary.get("segment_s") for of in (a, b)}
    found: float | None = lengths.pop() if len(lengths) == 1 else None
    return found or DEFAULT_BLOCK_S


def _segments(names: Sequence[tuple[str, int]], sums: Sequence[_Sums]) -> list[dict[str, Any]]:
    return [{"bag": bag, "block": block, **of} for (bag, block), of in zip(names, _each(sums), strict=True)]


def _named_segments(a: Replayed, b: Replayed, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Figures by the name of the segment, where both replays put every paired frame into the same."""
    named = [(key[0], a.frames[key]["segment"]) for key in keys]
    if any(b.frames[key]["segment"] != name for key, (_, name) in zip(keys, named, strict=True)):
        return []
    names = list(dict.fromkeys(named))
    index = np.array([names.index(name) for name in named])
    figures = _each([_Sums(of, keys, index, len(names)) for of in (a, b)])
    return [{"bag": bag, "segment": segment, **of} for (bag, segment), of in zip(names, figures, strict=True)]


def _each(sums: Sequence[_Sums]) -> list[dict[str, float | None]]:
    """Metrics of A and B for each block alone."""
    blocks = sums[0].blocks
    before, after = (of.metrics(np.eye(blocks)) for of in sums)
    sides = (("a", before), ("b", after))
    return [
        plain({f"{metric}_{side}": float(of[metric][number]) for metric in METRICS for side, of in sides})
        for number in range(blocks)
    ]


def _largest(a: Replayed, b: Replayed, keys: Sequence[Key]) -> dict[str, Any]:
    """Frames whose own AuPRC rose or fell the most."""
    pairs = [(key, a.frames[key]["auprc"], b.frames[key]["auprc"]) for key in keys]
    changes = sorted(((after - before, key) for key, before, after in pairs if None not in (before, after)))
    rows = [
        {
            "bag": k[0],
            "camera": k[1],
            "stamp_ns": k[2],
            "a": a.frames[k]["auprc"],
            "b": b.frames[k]["auprc"],
            "change": d,
        }
        for d, k in changes
    ]
    return {
        "worse": [r for r in rows[:_SHOWN] if r["change"] < 0],
        "better": [r for r in rows[: -_SHOWN - 1 : -1] if r["change"] > 0],
    }


def _binning(a: Replayed, b: Replayed, sums: Sequence[_Sums], frames: Mapping[str, int]) -> float | None:
    """Largest difference between binned and exact pooled figures; None where the frames are not all in common."""
    if frames["only_a"] or frames["only_b"]:
        return None
    worst = 0.0
    for of, binned in zip((a, b), sums, strict=True):
        found = binned.metrics(np.ones((1, binned.blocks)))
        for name in ("auprc", "fpr95"):
            exact = of.summary["truth"]["pixel"][name]
            if exact is not None and np.isfinite(found[name][0]):
                worst = max(worst, abs(float(found[name][0]) - exact))
    return worst
