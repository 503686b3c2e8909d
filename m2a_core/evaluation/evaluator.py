"""Scoring a folder of score maps: pixels first, then components at the threshold the pixels give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.data.files import Pair
from m2a_core.errors import DataError
from m2a_core.evaluation.shards import FrameRecord, Shard, make_shards, process_components, process_pixels
from m2a_core.metrics.component import ComponentResult, Track, component_metrics
from m2a_core.metrics.pixel import PixelMetrics, PixelResult
from m2a_core.metrics.smiyc_curve import BinnedResult, pooled_curve
from m2a_core.progress import ProgressBar


@dataclass(frozen=True)
class Evaluation:
    """Figures of a data set.

    Attributes:
        pixel: exact pixel metrics.
        binned: the SMIYC code's binned ones.
        components: component metrics at ``threshold``; None without a threshold (no anomalous pixel, none given).
        threshold: T.
        threshold_rule: where T comes from.
        track: whose component sizes apply.
        records: per frame, in order.
        failed: frame -> why it is in no figure.
        by_benchmark: the headline pixel figures are the SMIYC code's, not the exact ones.
    """

    pixel: PixelResult
    binned: BinnedResult
    components: ComponentResult | None
    threshold: float | None
    threshold_rule: str
    track: Track
    records: list[FrameRecord]
    failed: dict[str, str]
    by_benchmark: bool = False

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values; null where one is undefined. Fractions in [0, 1]."""
        pixel, parts = self.pixel, self.components
        headline = self.binned if self.by_benchmark else pixel
        figures: dict[str, Any] = {
            "auprc": headline.auprc,
            "fpr95": headline.fpr95,
            "auroc": headline.auroc,
            "pixel_rule": "SMIYC code, binned" if self.by_benchmark else "exact",
            "f1_star": parts.f1_star if parts else None,
            "siou": parts.siou if parts else None,
            "ppv": parts.ppv if parts else None,
            "n_frames": len(self.records) - len(self.failed.keys() & {r.name for r in self.records}),
            "n_pixels": pixel.n_anomaly + pixel.n_known,
            "n_anomaly_pixels": pixel.n_anomaly,
            "threshold": self.threshold,
            "threshold_rule": self.threshold_rule,
            "track": self.track.value,
            "tpr95_threshold": pixel.tpr95_threshold,
            "best_f1": pixel.best_f1,
            "best_f1_threshold": pixel.best_f1_threshold,
            "exact": {"auprc": pixel.auprc, "fpr95": pixel.fpr95, "auroc": pixel.auroc},
            "smiyc_binned": dict(vars(self.binned)),
            "failed": self.failed,
        }
        plain: dict[str, Any] = _without_nan(figures)
        return plain


def evaluate_pairs(
    pairs: Sequence[Pair],
    work: Path,
    track: Track = Track.ANOMALY,
    threshold: float | None = None,
    workers: int = 1,
    missing: dict[str, str] | None = None,
    label: str | None = "",
    by_benchmark: bool = False,
) -> Evaluation:
    """Score pairs of files, resuming what an earlier, killed run left in ``work``.

    Args:
        pairs: the frames.
        work: directory for partial results.
        track: component sizes of which track.
        threshold: T; None takes the benchmark's best-F1 threshold (``metrics.smiyc_curve``).
        workers: threads.
        missing: frames known to lack a file, with the reason; they are reported as failed.
        label: what stands before the progress bars' names, None for no bars.
        by_benchmark: headline pixel figures as the SMIYC code computes them; the exact ones are given too.

    Raises:
        DataError: no frame could be scored.
    """
    shards = make_shards(pairs, work)
    _run("pixels", process_pixels, [s for s in shards if not s.pixel_done()], len(pairs), workers, label)
    records = [record for shard in shards for record in shard.records()]
    failed = {**(missing or {}), **{r.name: r.error for r in records if r.error}}
    if all(record.error for record in records):
        raise DataError(f"none of {len(failed)} frames could be scored; the first: {next(iter(failed.values()))}")

    metrics = PixelMetrics()
    for shard in shards:
        metrics.add_runs(*shard.runs())
    pixel, binned = metrics.compute(), pooled_curve([b for shard in shards for b in shard.bins()])
    rule = "given"
    if threshold is None:
        threshold = None if np.isnan(binned.best_f1_threshold) else binned.best_f1_threshold
        rule = "best pixel F1 on the SMIYC binned curve" if threshold is not None else "none: no anomalous pixel"
    components = None
    if threshold is not None:
        todo = [s for s in shards if not s.components_path(threshold, track).exists()]
        _run(
            "components",
            partial(process_components, threshold=threshold, track=track),
            todo,
            len(pairs),
            workers,
            label,
        )
        components = component_metrics([f for shard in shards for f in shard.components(threshold, track)])
    return Evaluation(pixel, binned, components, threshold, rule, track, records, failed, by_benchmark)


def _run(
    what: str, job: Callable[[Shard], int], todo: Sequence[Shard], total: int, workers: int, label: str | None
) -> None:
    done = total - sum(len(shard.pairs) for shard in todo)
    with ProgressBar(total=total, initial=done, desc=f"{label}{what}", unit="frame", disable=label is None) as bar:
        if workers == 1 or len(todo) < 2:
            for shard in todo:
                bar.update(job(shard))
            return
        # Threads suffice: reading, sorting and labelling release the interpreter lock.
        with ThreadPoolExecutor(min(workers, len(todo))) as pool:
            futures = [pool.submit(job, shard) for shard in todo]
            try:
                for future in as_completed(futures):
                    bar.update(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
