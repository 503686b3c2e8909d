"""What `m2a evaluate` writes and prints."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2a_core.errors import ConfigError
from m2a_core.evaluation.work_folder import finish, require_own
from m2a_core.reporting.page import count

if TYPE_CHECKING:
    from m2a_core.evaluation.evaluator import Evaluation

COMPARED = ("auprc", "fpr95", "auroc", "f1_star", "siou", "ppv", "threshold")
"""Figures of a score that are set beside those of others."""
_EXIT_FAILED = 2


def output_files(args: argparse.Namespace) -> tuple[Path, Path]:
    """The file for the figures, and the folder for what is unfinished.

    Raises:
        ConfigError: ``--json`` is missing or names something else, or the folder is the user's.
    """
    if args.json is None:
        raise ConfigError("--json OUT.json is needed: where to write the figures")
    out: Path = args.json
    if out.is_dir() or out.suffix == ".html":
        raise ConfigError(f"--json {out}: expected a file such as OUT.json; the report goes to OUT.html beside it")
    work = out.with_suffix(".work")
    if work == out:
        raise ConfigError(f"--json {out}: is where partial results go; give a file such as {out.with_suffix('.json')}")
    require_own(work)
    out.parent.mkdir(parents=True, exist_ok=True)
    return out, work


def _fraction(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def conclude(out: Path, work: Path, figures: dict[str, Any], evaluation: Evaluation | None) -> int:
    """Print the figures and what is missing of them; returns the exit code."""
    if evaluation is not None:
        for key in COMPARED[:-1]:
            print(f"{key:8s} {_fraction(figures[key])}")
    for name, values in figures.get("scores", {}).items():
        print(f"{name:18s} " + "  ".join(f"{key} {_fraction(values[key])}" for key in COMPARED[:-1]))
    for key in ("miou", "open_iou"):
        if key in figures:
            print(f"{key:8s} {_fraction(figures[key])}")
    for group, quality in figures.get("panoptic", {}).items():
        print(f"PQ {group:8s} {_fraction(quality['pq'])}")
    print(f"{count(figures['n_frames'], 'frame')}; figures in {out}, report in {out.with_suffix('.html')}")
    for reason in figures["undefined"]:
        print(f"m2a: error: {reason}", file=sys.stderr)
    if not figures["failed"]:
        finish(work)
        return _EXIT_FAILED if figures["undefined"] else 0
    for name, reason in figures["failed"].items():
        print(f"m2a: error: frame '{name}' is left out: {reason}", file=sys.stderr)
    print(
        f"m2a: error: {len(figures['failed'])} frames are not in the figures; fix them and run again "
        f"(finished work is kept in {work})",
        file=sys.stderr,
    )
    return _EXIT_FAILED
