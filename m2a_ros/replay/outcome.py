"""What the bags' results say together."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.files import replaced
from m2a_ros.review.layout import FRAMES, PROBLEMS

_PERCENTILES = (50, 95, 99)


def join_records(folders: Sequence[Path], out: Path) -> tuple[dict[str, Any], str | None]:
    """Write ``frames.jsonl`` and ``problems.jsonl`` of all bags, in the order of the bags.

    Args:
        folders: the bags' folders of results.
        out: the output folder.

    Returns:
        Latencies by stage in milliseconds, and the SHA-256 over all frames' hashes; None where there is no frame, as
        in mode peak: the hash of nothing looks like one.
    """
    latencies: dict[str, array[float]] = defaultdict(lambda: array("d"))
    digest, frames = hashlib.sha256(), 0
    for name in (FRAMES, PROBLEMS):
        with replaced(out / name) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as joined:
            for folder in folders:
                with (folder / name).open(encoding="utf-8") as lines:
                    for line in lines:
                        joined.write(line)
                        if name == FRAMES:
                            record = json.loads(line)
                            digest.update(record["hash"].encode())
                            frames += 1
                            for stage, value in record["latencies_ms"].items():
                                latencies[stage].append(value)
    return {stage: spread(values) for stage, values in latencies.items()}, digest.hexdigest() if frames else None


def spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles and maximum of at least one value, rounded to three places."""
    figures = {f"p{p}": float(np.percentile(values, p)) for p in _PERCENTILES}
    return {name: round(value, 3) for name, value in {**figures, "max": max(values)}.items()}
