"""Tables and plots of ablations."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

COLORS = ("#0b6e99", "#e0542b", "#5a8f29")


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


def bars(report: Report) -> str:
    """The report as bars with standard errors, one ``<svg>``: 0 to 100 %, a group per variant."""
    metrics = list(next(iter(report.rows.values()))[0])
    group, height, left, top = 34 * len(metrics) + 26, 220, 44, 46
    # Seven pixels a letter of the title, so that few variants do not cut it off.
    width = left + max(group * len(report.rows), 7 * len(report.title)) + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + height + 44}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{top + height + 44}" fill="white"/>',
        f'<text x="{left}" y="16" font-size="13">{escape(report.title)}</text>',
    ]
    for i, metric in enumerate(metrics):
        out.append(f'<rect x="{left + 80 * i}" y="24" width="10" height="10" fill="{COLORS[i]}"/>')
        out.append(f'<text x="{left + 14 + 80 * i}" y="33">{escape(metric)}</text>')
    for percent in range(0, 101, 20):
        y = top + height * (1 - percent / 100)
        out.append(f'<line x1="{left}" x2="{width - 8}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{percent} %</text>')
    for n, (name, runs) in enumerate(report.rows.items()):
        start = left + 13 + group * n
        for i, metric in enumerate(metrics):
            mean, error = mean_and_error([run[metric] for run in runs])
            if np.isnan(mean):
                continue
            x, y = start + 34 * i, top + height * (1 - mean)
            out.append(f'<rect x="{x}" y="{y:.1f}" width="28" height="{height * mean:.1f}" fill="{COLORS[i]}"/>')
            if not np.isnan(error):
                low, high = (top + height * (1 - mean - side * error) for side in (-1, 1))
                out.append(f'<line x1="{x + 14}" x2="{x + 14}" y1="{low:.1f}" y2="{high:.1f}" stroke="black"/>')
        middle = start + 17 * len(metrics) - 3
        out.append(f'<text x="{middle}" y="{top + height + 18}" text-anchor="middle">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def write_report(report: Report, folder: Path) -> None:
    """Write FOLDER/NAME.md and FOLDER/NAME.svg, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = table(report)
    (folder / f"{report.name}.md").write_text(text, encoding="utf-8")
    (folder / f"{report.name}.svg").write_text(bars(report), encoding="utf-8")
    print(text)
