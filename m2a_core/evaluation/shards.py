"""The unit of work, of parallelism and of resuming: a few frames, whose results are files that appear all at once.

A shard's directory is named by what went into it (names, sizes and modification times of its files), so a result is
found again after a kill, and only a shard whose files changed is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.data.files import Pair, read_score, read_truth
from m2a_core.errors import DataError
from m2a_core.files import json_text, replaced
from m2a_core.metrics.component import FrameComponents, Track, frame_components
from m2a_core.metrics.pixel import PixelMetrics, split_scores
from m2a_core.metrics.runs import RunFile, SortedRun
from m2a_core.metrics.smiyc_curve import FrameBins

_FORMAT = "m2a-evaluate-3"
_SHARD_FRAMES = 8


@dataclass(frozen=True)
class FrameRecord:
    """What is kept of one frame.

    Attributes:
        name: the frame.
        error: why it could not be scored; the fields below are then 0 or None.
        n_anomaly, n_known: counted pixels.
        n_void: pixels that do not count.
        auprc: of this frame alone; None without anomalous or without known pixels.
        top_known: the highest score of a known pixel; None without known pixels.
    """

    name: str
    error: str | None = None
    n_anomaly: int = 0
    n_known: int = 0
    n_void: int = 0
    auprc: float | None = None
    top_known: float | None = None


@dataclass(frozen=True)
class Shard:
    """Some frames and the directory of their results."""

    pairs: tuple[Pair, ...]
    directory: Path

    def pixel_done(self) -> bool:
        """True when the pixel results are there."""
        return (self.directory / "frames.json").exists()

    def records(self) -> list[FrameRecord]:
        """The frames' records, in order."""
        return [FrameRecord(**entry) for entry in json.loads((self.directory / "frames.json").read_text())]

    def runs(self) -> tuple[RunFile, RunFile]:
        """Sorted scores of the anomalous and of the known pixels."""
        return RunFile(self.directory / "anomaly"), RunFile(self.directory / "known")

    def bins(self) -> list[FrameBins]:
        """The benchmark's bins of every frame that could be scored."""
        with np.load(self.directory / "bins.npz", allow_pickle=False) as data:
            cuts = np.cumsum(data["lengths"])[:-1]
            columns = [np.split(data[key], cuts) for key in ("edges", "anomaly", "known")]
        return [FrameBins(*parts) for parts in zip(*columns, strict=True)] if len(cuts) + 1 == len(columns[0]) else []

    def components_path(self, threshold: float, track: Track) -> Path:
        """File of the component results at a threshold."""
        return self.directory / f"components-{track.value}-{float(threshold).hex()}.json"

    def components(self, threshold: float, track: Track) -> list[FrameComponents]:
        """The component results of every frame that could be scored."""
        entries = json.loads(self.components_path(threshold, track).read_text())
        return [FrameComponents(tuple(entry["siou"]), tuple(entry["ppv"])) for entry in entries]


def make_shards(pairs: Sequence[Pair], work: Path) -> list[Shard]:
    """Cut the pairs into shards under ``work``; the cut depends on the list alone."""
    size = _SHARD_FRAMES if len(pairs) > 4 * _SHARD_FRAMES else 1
    shards = []
    for start in range(0, len(pairs), size):
        part = tuple(pairs[start : start + size])
        digest = hashlib.sha256(_FORMAT.encode())
        for pair in part:
            for path in (pair.score, pair.truth):
                status = path.stat()
                digest.update(
                    f"{pair.name}|{pair.key}|{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode()
                )
        shards.append(Shard(part, work / digest.hexdigest()[:24]))
    return shards


def process_pixels(shard: Shard) -> int:
    """Score the pixels of a shard's frames; returns how many frames that were.

    A frame that cannot be read or does not fit is recorded with its error; the others count.
    """
    stores: dict[str, list[np.ndarray]] = {"anomaly": [], "known": []}
    records, bins = [], []
    for pair in shard.pairs:
        try:
            score, truth = load_pair(pair)
            anomaly, known = (np.sort(part) for part in split_scores(score, truth))
            if not len(anomaly) and not len(known):
                raise DataError("every pixel of the ground truth is void (255): nothing to score")
        except DataError as error:
            records.append(FrameRecord(pair.name, error=f"{pair.score} against {pair.truth}: {error}"))
            continue
        frame = PixelMetrics()
        frame.add_runs(SortedRun.of_sorted(anomaly), SortedRun.of_sorted(known))
        auprc = frame.compute().auprc
        records.append(
            FrameRecord(
                pair.name,
                n_anomaly=len(anomaly),
                n_known=len(known),
                n_void=truth.size - len(anomaly) - len(known),
                auprc=None if np.isnan(auprc) else auprc,
                top_known=float(known[-1]) if len(known) else None,
            )
        )
        bins.append(FrameBins.of_frame(anomaly, known))
        stores["anomaly"].append(anomaly)
        stores["known"].append(known)

    partial = shard.directory.with_suffix(f".{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, parts in stores.items():
        values = np.concatenate(parts) if parts else np.empty(0, np.float32)
        values.sort()
        SortedRun.of_sorted(values).save(partial / name)
    columns: dict[str, Any] = {
        key: np.concatenate([getattr(b, key) for b in bins]) if bins else np.empty(0)
        for key in ("edges", "anomaly", "known")
    }
    np.savez(partial / "bins.npz", lengths=np.array([len(b.edges) for b in bins], np.int64), **columns)
    (partial / "frames.json").write_text(json_text([asdict(record) for record in records]))
    shutil.rmtree(shard.directory, ignore_errors=True)
    partial.rename(shard.directory)
    return len(shard.pairs)


def process_components(shard: Shard, threshold: float, track: Track) -> int:
    """Compare the components of a shard's frames at a threshold; returns how many frames that were."""
    failed = {record.name for record in shard.records() if record.error}
    entries = []
    for pair in shard.pairs:
        if pair.name not in failed:
            score, truth = load_pair(pair)
            frame = frame_components(score, truth, threshold, track)
            entries.append({"siou": frame.siou, "ppv": frame.ppv})
    with replaced(shard.components_path(threshold, track), alone=False) as partial:
        partial.write_text(json_text(entries))
    return len(shard.pairs)


def load_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Read a frame's score map (float [H, W]) and ground truth (uint8 [H, W])."""
    return read_score(pair.score, pair.key), read_truth(pair.truth)
