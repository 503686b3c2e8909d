"""Sorted runs of scores: counting "how many are below v" over more values than memory holds, exactly.

Values are collected in a buffer; a full buffer is sorted and becomes a run. A run with many repeated values is stored
as distinct values with counts. Runs beyond the memory budget go to files and are mapped back when they are asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class SortedRun:
    """Scores in ascending order.

    Attributes:
        values: float32 or float64 [N]; distinct where ``counts`` is given.
        counts: int64 [N], how often each value occurs; None = once per entry.
        total: number of scores, repetitions included.
    """

    values: np.ndarray
    counts: np.ndarray | None
    total: int

    @staticmethod
    def of_sorted(values: np.ndarray) -> SortedRun:
        """Make a run of ascending values (float [N]), counting repeated ones where that is at most half as long."""
        n = len(values)
        if n == 0:
            return SortedRun(values, None, 0)
        last_of_group = np.empty(n, bool)
        np.not_equal(values[1:], values[:-1], out=last_of_group[:-1])
        last_of_group[-1] = True
        if 2 * np.count_nonzero(last_of_group) > n:
            return SortedRun(values, None, n)
        ends = np.flatnonzero(last_of_group)
        return SortedRun(values[ends], np.diff(ends, prepend=-1), n)

    def below(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the scores below ascending values: int64 [M] of scores ``< v`` and of scores ``<= v``."""
        left = np.searchsorted(self.values, v, "left")
        right = left.copy()
        if len(self.values):
            # Most v are not in the run at all: only the others need a second search.
            present = np.flatnonzero(self.values[np.minimum(left, len(self.values) - 1)] == v)
            right[present] = np.searchsorted(self.values, v[present], "right")
        if self.counts is None:
            return left, right
        before = np.concatenate(([0], np.cumsum(self.counts)))
        return before[left], before[right]

    def between(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the values v with ``low < v <= high`` and how often each occurs (int64)."""
        a, b = np.searchsorted(self.values, [low, high], "right")
        values = np.asarray(self.values[a:b])
        counts = np.ones(b - a, np.int64) if self.counts is None else np.asarray(self.counts[a:b])
        return values, counts

    def save(self, stem: Path) -> None:
        """Write ``<stem>.npy`` and, with counts, ``<stem>.counts.npy``."""
        np.save(stem.with_suffix(".npy"), self.values)
        if self.counts is not None:
            np.save(stem.with_suffix(".counts.npy"), self.counts)


@dataclass(frozen=True)
class RunFile:
    """A run on disk, as ``SortedRun.save`` writes it."""

    stem: Path

    def open(self) -> SortedRun:
        """Map the run into memory (an empty file's array is loaded)."""
        values = _load(self.stem.with_suffix(".npy"))
        counts_path = self.stem.with_suffix(".counts.npy")
        counts = _load(counts_path) if counts_path.exists() else None
        return SortedRun(values, counts, len(values) if counts is None else int(counts.sum()))


def _load(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


class RunStore:
    """Collects scores into sorted runs within a memory budget.

    Args:
        buffer_values: scores sorted at a time; memory is about twice this times the item size.
        spill_dir: where runs go once half of ``buffer_values`` is kept in memory; None = a temporary directory made
            when needed.
    """

    def __init__(self, buffer_values: int, spill_dir: Path | None = None) -> None:
        """Start empty."""
        self._capacity = buffer_values
        self._spill_dir = spill_dir
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._buffer: np.ndarray | None = None
        self._filled = 0
        self._runs: list[SortedRun | RunFile] = []
        self._held = 0
        self.total = 0

    def add(self, values: np.ndarray) -> None:
        """Add scores (finite float32 or float64, [N])."""
        self.total += len(values)
        if self._buffer is not None and self._buffer.dtype != values.dtype:
            self._flush()
        while len(values):
            if self._buffer is None:
                self._buffer = np.empty(self._capacity, values.dtype)
            part = values[: self._capacity - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            values = values[len(part) :]
            if self._filled == self._capacity:
                self._flush()

    def add_run(self, run: SortedRun | RunFile) -> None:
        """Add a finished run, for instance one that another process wrote."""
        self._runs.append(run)
        self.total += (run.open() if isinstance(run, RunFile) else run).total

    def runs(self) -> Iterator[SortedRun]:
        """Yield every run, one open at a time."""
        self._flush()
        for run in self._runs:
            yield run.open() if isinstance(run, RunFile) else run

    def _flush(self) -> None:
        if self._buffer is None:
            return
        values, self._buffer, self._filled = self._buffer[: self._filled], None, 0
        values.sort()
        run = SortedRun.of_sorted(values)
        if self._held + len(run.values) <= self._capacity // 2:
            self._held += len(run.values)
            kept = run if run.counts is not None else SortedRun(run.values.copy(), None, run.total)
            self._runs.append(kept)
            return
        stem = self._directory() / f"run-{len(self._runs):05d}"
        run.save(stem)
        self._runs.append(RunFile(stem))

    def _directory(self) -> Path:
        if self._spill_dir is not None:
            self._spill_dir.mkdir(parents=True, exist_ok=True)
            return self._spill_dir
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="m2a-runs-")
        return Path(self._temporary.name)
