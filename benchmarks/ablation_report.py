"""Tables and plots of ablations."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.chart_file import standalone
from m2a_core.reporting.charts import bars


@dataclass(frozen=True)
class Report:
    """One table.

    Attributes:
        name: of the files.
        title: what is compared.
        claim: what the paper finds; empty for a table that it lacks.
        rows: variant -> one mapping of metric to fraction per seed.
        setup: data, steps and start, in words.
        command: that gives it.
    """

    name: str
    title: str
    claim: str
    rows: Mapping[str, Sequence[Mapping[str, float]]]
    setup: str
    command: str


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its standard error over seeds (NaN for one seed)."""
    array = np.array(values, np.float64)
    error = array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else np.nan
    return float(array.mean()), float(error)


def table(report: Report) -> str:
    """The report as a Markdown page."""
    metrics = list(next(iter(report.rows.values()))[0])
    lines = [f"# {report.title}", "", report.setup, ""]
    lines += ["| | " + " | ".join(metrics) + " | seeds |", "| --- |" + " --- |" * (len(metrics) + 1)]
    for name, runs in report.rows.items():
        cells = []
        for metric in metrics:
            mean, error = mean_and_error([run[metric] for run in runs])
            cells.append(f"{100 * mean:.1f}" + ("" if np.isnan(error) else f" ± {100 * error:.1f}"))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(runs)} |")
    lines += ["", "All in percent; ± is the standard error over seeds, which says nothing of other data.", ""]
    if report.claim:
        lines += [f"The paper: {report.claim}.", ""]
    lines += [f"![{report.title}]({report.name}.svg)", ""]
    machine = f"{os.cpu_count()} cores {platform.machine()}"
    lines += [f"{datetime.date.today()}, {machine}:", "", "```bash", report.command, "```", ""]
    return "\n".join(lines)


def chart(report: Report) -> str:
    """The report as bars with standard errors, an SVG file: 0 to 100 %, a group per variant."""
    series = []
    for metric in next(iter(report.rows.values()))[0]:
        found = [mean_and_error([run[metric] for run in runs]) for runs in report.rows.values()]
        series.append((metric, [mean for mean, _ in found], [error for _, error in found]))
    return standalone([bars(report.title, list(report.rows), series)])


def write_report(report: Report, folder: Path) -> None:
    """Write FOLDER/NAME.md and FOLDER/NAME.svg, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = table(report)
    (folder / f"{report.name}.md").write_text(text, encoding="utf-8")
    (folder / f"{report.name}.svg").write_text(chart(report), encoding="utf-8")
    print(text)
