"""Two replays of the same bags, paired frame by frame: is B better than A on these roads?

Frames of a drive resemble their neighbours, so frames are not resampled one by one: stretches of a bag are (block
bootstrap, Kuensch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989), all cameras together,
and both replays with the same draw. Intervals are percentiles of the differences of 2000 draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import read_json
from m2a_ros.review.histograms import BINS, load_histograms, pooled_metrics
from m2a_ros.review.scoring import FRAMES_FILE, HISTOGRAMS_FILE

DRAWS = 2000
MIN_BLOCKS = 8
"""With fewer stretches percentiles of draws say little; the answer is then that nobody can tell."""

DEFAULT_BLOCK_S = 10.0
_CONFIDENCE = 0.95
_SEED = 20240501

METRICS = {
    "auprc": ("AuPRC", +1), "fpr95": ("FPR95", -1), "missed": ("missed anomalies", -1), "false": ("false pixels", -1),
}  # fmt: skip
"""Metric -> its name for people, and whether more (+1) or less (-1) is better. The last two are shares of pixels on the
wrong side of each model's own threshold, pooled over frames."""


@dataclass(frozen=True)
class Replayed:
    """A replay with ground truth.

    Attributes:
        folder: its output folder.
        summary: its ``summary.json``.
        frames: (bag, camera, stamp, how often that came before) -> its line of ``truth_frames.jsonl``.
        histograms: the same key -> counts int64 [2, BINS] of anomalous and known pixels by score.
    """

    folder: Path
    summary: Mapping[str, Any]
    frames: Mapping[tuple[str, str, int, int], Mapping[str, Any]]
    histograms: Mapping[tuple[str, str, int, int], tuple[np.ndarray, np.ndarray]]

    @property
    def name(self) -> str:
        """What to call it: folder and model."""
        return f"{self.folder.name} ({self.summary['model']['name']})"


def load_replay(folder: Path) -> Replayed:
    """Read what a replay with ground truth left.

    Raises:
        DataError: it is no finished replay, or has no ground truth.
    """
    if not (folder / "summary.json").is_file():
        raise DataError(f"{folder}: no finished replay (no summary.json); run `m2a replay BAG --gt DIR --out {folder}`")
    summary = read_json(folder / "summary.json")
    if not isinstance(summary, dict) or not summary.get("truth"):
        raise DataError(
            f"{folder}: was replayed without ground truth; replay into another --out with --gt or --gt-topic"
        )
    try:
        lines = [json.loads(line) for line in (folder / FRAMES_FILE).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / FRAMES_FILE}: cannot be read ({error}); replay again") from error
    counts = load_histograms(folder / HISTOGRAMS_FILE)
    if len(counts) != len(lines):
        raise DataError(f"{folder}: {len(lines)} frames but {len(counts)} histograms; replay again")
    seen: dict[tuple[str, str, int], int] = {}
    frames, histograms = {}, {}
    for line, filled in zip(lines, counts, strict=True):
        base = (line["bag"], line["camera"], line["stamp_ns"])
        key = (*base, seen.get(base, 0))
        seen[base] = key[3] + 1
        frames[key], histograms[key] = line, filled
    return Replayed(folder, summary, frames, histograms)


def compare(a: Replayed, b: Replayed, block_s: float = DEFAULT_BLOCK_S, draws: int = DRAWS) -> dict[str, Any]:
    """Compare two replays.

    Args:
        a: the one in use.
        b: the candidate.
        block_s: length of the stretches that are resampled, seconds.
        draws: of the bootstrap.

    Returns:
        JSON values: ``answer`` (a sentence), ``verdict`` (``better``, ``worse``, ``unclear``), ``metrics`` (value of A
        and B, difference B - A, low and high), ``blocks``, ``frames`` (paired, and in one only), ``segments``,
        ``largest`` (frames with the largest changes), ``binning`` (what binning costs at most).

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
    blocks = _blocks([a.frames[key] for key in common], block_s)
    names = sorted(set(blocks))
    index = np.array([names.index(block) for block in blocks])
    sums = [_Sums(of, common, index, len(names)) for of in (a, b)]
    weights = np.random.default_rng(_SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    value, drawn = ([s.metrics(w) for s in sums] for w in (np.ones((1, len(names))), weights))
    tail = 100 * (1 - _CONFIDENCE) / 2
    metrics = {}
    for name in METRICS:
        before, after = (float(of[name][0]) for of in value)
        differences = drawn[1][name] - drawn[0][name]
        usable = differences[np.isfinite(differences)]
        low, high = np.percentile(usable, (tail, 100 - tail)) if len(usable) > draws / 2 else (np.nan, np.nan)
        metrics[name] = {"a": before, "b": after, "difference": after - before, "low": float(low), "high": float(high)}
    verdict = _verdict(metrics["auprc"], len(names))
    frames = {"paired": len(common), "only_a": len(a.frames) - len(common), "only_b": len(b.frames) - len(common)}
    return {
        "verdict": verdict,
        "answer": _answer(verdict, metrics, frames["paired"], len(names)),
        "a": a.name,
        "b": b.name,
        "metrics": _finite(metrics),
        "confidence": _CONFIDENCE,
        "draws": draws,
        "block_s": block_s,
        "blocks": len(names),
        "frames": frames,
        "segments": _segments(names, sums),
        "largest": _largest(a, b, common),
        "binning": _binning(a, b, sums, frames),
    }


def _check(a: Replayed, b: Replayed) -> None:
    bags = [{bag["name"]: bag["sha256"] for bag in of.summary["bags"]} for of in (a, b)]
    other = sorted(name for name in bags[0].keys() & bags[1].keys() if bags[0][name] != bags[1][name])
    if other or not bags[0].keys() & bags[1].keys():
        what = f"bag {other[0]} is not the same" if other else "no bag in common"
        raise ConfigError(f"{a.folder} and {b.folder}: {what} (by SHA-256); replay the same bags with both")


class _Sums:
    """Counts by block: scores [blocks, 2, BINS], and pixels that are missed, false, anomalous and known [blocks, 4]."""

    def __init__(self, of: Replayed, keys: Sequence[tuple[str, str, int, int]], index: np.ndarray, blocks: int) -> None:
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
        for start in range(0, len(weights), 100):
            scores = (weights[start : start + 100] @ self._scores).reshape(-1, 2, BINS)
            pooled = pooled_metrics(scores[:, 0], scores[:, 1])
            found["auprc"].append(pooled.auprc)
            found["fpr95"].append(pooled.fpr95)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = {"missed": pixels[:, 0] / pixels[:, 2], "false": pixels[:, 1] / pixels[:, 3]}
        return {**{name: np.concatenate(parts) for name, parts in found.items()}, **shares}


def _blocks(frames: Sequence[Mapping[str, Any]], seconds: float) -> list[tuple[str, int]]:
    first: dict[str, int] = {}
    for frame in frames:
        first[frame["bag"]] = min(first.get(frame["bag"], frame["recorded_ns"]), frame["recorded_ns"])
    return [(f["bag"], (f["recorded_ns"] - first[f["bag"]]) // round(1e9 * seconds)) for f in frames]


def _verdict(auprc: Mapping[str, float], blocks: int) -> str:
    if blocks < MIN_BLOCKS or not np.isfinite(auprc["low"]):
        return "unclear"
    return "better" if auprc["low"] > 0 else "worse" if auprc["high"] < 0 else "unclear"


def _answer(verdict: str, metrics: Mapping[str, Mapping[str, float]], frames: int, blocks: int) -> str:
    auprc = metrics["auprc"]
    basis = f"{frames} frames in {blocks} stretches"
    if not np.isfinite(auprc["low"]):
        return f"Cannot tell: AuPRC is undefined on too many of the draws from {basis}."
    change = (
        f"AuPRC {100 * auprc['difference']:+.1f} points, 95 % interval {100 * auprc['low']:+.1f} to "
        f"{100 * auprc['high']:+.1f}"
    )
    if blocks < MIN_BLOCKS:
        return (
            f"Cannot tell: {basis} are too few for an interval ({change}); at least {MIN_BLOCKS} stretches are needed."
        )
    if verdict == "unclear":
        return f"Cannot tell whether B is better than A on these roads: {change}, over {basis}."
    sign = 1 if verdict == "better" else -1
    against = [
        METRICS[name][0] for name in list(METRICS)[1:]
        if (metrics[name]["low"] if -sign * METRICS[name][1] > 0 else -metrics[name]["high"]) > 0
    ]  # fmt: skip
    but = f" But {' and '.join(against)} changed the other way." if against else ""
    return f"{'Yes' if sign > 0 else 'No'}: B is {verdict} than A on these roads: {change}, over {basis}.{but}"


def _segments(names: Sequence[tuple[str, int]], sums: Sequence[_Sums]) -> list[dict[str, Any]]:
    each = np.eye(len(names))
    before, after = (of.metrics(each) for of in sums)
    rows = []
    for number, (bag, block) in enumerate(names):
        values = {f"{m}_{side}": float(of[m][number]) for m in METRICS for side, of in (("a", before), ("b", after))}
        rows.append({"bag": bag, "block": block, **_finite(values)})
    return rows


def _largest(a: Replayed, b: Replayed, keys: Sequence[tuple[str, str, int, int]], count: int = 5) -> dict[str, Any]:
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
    return {"worse": [r for r in rows[:count] if r["change"] < 0],
            "better": [r for r in rows[: -count - 1 : -1] if r["change"] > 0]}  # fmt: skip


def _binning(a: Replayed, b: Replayed, sums: Sequence[_Sums], frames: Mapping[str, int]) -> float | None:
    """Largest difference between binned and exact pooled figures; None where the frames are not all in common."""
    if frames["only_a"] or frames["only_b"]:
        return None
    worst = 0.0
    for of, binned in zip((a, b), sums, strict=True):
        found = binned.metrics(np.ones((1, len(binned._pixels))))
        for name in ("auprc", "fpr95"):
            exact = of.summary["truth"]["pixel"][name]
            if exact is not None and np.isfinite(found[name][0]):
                worst = max(worst, abs(float(found[name][0]) - exact))
    return worst


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
