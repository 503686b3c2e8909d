"""Draw the curves of a training run: losses above, validation metrics below, one SVG.

    python -m benchmarks.plot_training runs/m2a-edge/metrics.jsonl docs/training/m2a-edge.svg

Losses are the unweighted sums over all supervised heads, each point the mean of the steps since the point before it.
Steps of all stages are counted through. MSP is maximum softmax, the baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chart_file import standalone
from m2a_core.reporting.charts import Series, line_chart
from m2a_core.reporting.plot import Axis

LOSSES = ("ce", "bce", "dice", "pixel", "contrastive", "choice", "lovasz", "semantic", "excess")
METRICS = {"miou": "mIoU", "anomaly_auprc": "AuPRC", "anomaly_fpr95": "FPR95", "msp_auprc": "MSP AuPRC"}


def read_records(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Read a log as kind -> step -> record; of steps that a resumed run took twice, the last record counts."""
    offsets: dict[str, int] = {}
    records: dict[str, dict[int, dict[str, Any]]] = {"train": {}, "validation": {}}
    last = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        offset = offsets.setdefault(record["stage"], last)
        step = offset + record["step"]
        records[record["kind"]][step] = record
        last = max(last, step)
    return records


def curve(name: str, records: dict[int, dict[str, Any]], key: str, points: int = 150) -> Series:
    """One value over steps, as the means of at most ``points`` equal runs of steps."""
    pairs = np.array([(step, record[key]) for step, record in sorted(records.items()) if key in record])
    if not len(pairs):
        return Series("", np.empty(0), np.empty(0))
    means = np.array([part.mean(0) for part in np.array_split(pairs, min(points, len(pairs)))])
    return Series(name, means[:, 0], means[:, 1])


def draw(path: Path) -> str:
    """The charts of a log as one SVG file; no validation, no chart of it."""
    records = read_records(path)
    losses = [curve(key, records["train"], key) for key in LOSSES]
    metrics = [curve(name, records["validation"], key) for key, name in METRICS.items()]
    steps = Axis("step", 0, max(records["train"], default=1))
    charts = [line_chart("Losses", losses, steps, Axis("loss, summed over heads", 0))]
    if records["validation"]:
        charts.append(line_chart("Validation on held-apart frames", metrics, steps, Axis("fraction", 0, 1)))
    return standalone(charts)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="metrics.jsonl of a run")
    parser.add_argument("svg", type=Path, help="file to write")
    args = parser.parse_args()
    try:
        text = draw(args.log)
        args.svg.parent.mkdir(parents=True, exist_ok=True)
        args.svg.write_text(text, encoding="utf-8")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
