"""The report of a comparison, and the command that writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2a_core.errors import ConfigError
from m2a_core.files import write_json, write_text
from m2a_core.reporting.charts import intervals
from m2a_core.reporting.page import count, percent, render
from m2a_ros.review.compare import compare
from m2a_ros.review.compare_verdict import METRICS
from m2a_ros.review.replayed import load_replay
from m2a_ros.review.request import check_segment

JSON_FILE, HTML_FILE = "comparison.json", "comparison.html"
_MAX_ROWS = 200


def run_compare(folders: Sequence[Path], out: Path, block_s: float | None) -> str:
    """Compare two replays; writes ``comparison.json`` and ``comparison.html`` into ``out``.

    Args:
        folders: of A and of B.
        out: output folder; created if missing.
        block_s: length of the stretches that are resampled, seconds; None for the default.

    Returns:
        For the terminal.

    Raises:
        ConfigError: not two folders, or they do not fit each other.
        DataError: a folder holds no finished replay with ground truth.
        OSError: ``out`` cannot be written.
    """
    if len(folders) != 2:
        raise ConfigError(f"m2a replay compare: expected two folders, A_DIR B_DIR, got {len(folders)}")
    check_segment(block_s)
    found = compare(load_replay(folders[0]), load_replay(folders[1]), block_s)
    write_json(out / JSON_FILE, found)
    write_text(out / HTML_FILE, render_comparison(found))
    lines = [found["answer"], *_thresholds(found)]
    for name, of in found["metrics"].items():
        lines.append(f"  {METRICS[name][0]}: A {percent(of['a'], 2)}, B {percent(of['b'], 2)}, {_interval(of)}")
    return "\n".join([*lines, *_left_out(found), f"written to {out / HTML_FILE}"])


def render_comparison(found: Mapping[str, Any]) -> str:
    """Put a comparison (what ``compare`` gives) into a page."""
    rows = [
        (
            f"{METRICS[name][0]} ({'higher' if METRICS[name][1] > 0 else 'lower'} is better)",
            percent(of["a"], 2),
            percent(of["b"], 2),
            _interval(of),
        )
        for name, of in found["metrics"].items()
    ]
    drawn = [
        (METRICS[name][0], 100 * of["difference"], 100 * of["low"], 100 * of["high"])
        for name, of in found["metrics"].items()
        if None not in (of["difference"], of["low"], of["high"])
    ]
    binning = found["binning"]
    return render(
        "m2a_ros.review",
        "compare.html",
        found=found,
        kind={"better": "good", "worse": "bad"}.get(found["verdict"], ""),
        thresholds=_thresholds(found),
        left_out=_left_out(found),
        chart=intervals("Differences B minus A with their 95 % intervals", drawn, "B minus A, points") if drawn else "",
        metrics=rows,
        named=_rows(found["named_segments"], lambda row: f"{row['bag']}, {row['segment']}"),
        stretches=_rows(found["segments"], lambda row: _stretch(row, found["block_s"])),
        largest=[
            (caption, _changes(found["largest"][key]))
            for key, caption in (("better", "B better than A"), ("worse", "B worse than A"))
        ],
        binning="not measurable here" if binning is None else f"at most {100 * binning:.3f} points on these data",
    )


def _interval(of: Mapping[str, float | None]) -> str:
    difference, low, high = of["difference"], of["low"], of["high"]
    if difference is None:
        return "undefined"
    points = f"{100 * difference:+.2f} points"
    return points if low is None or high is None else f"{points} ({100 * low:+.2f} to {100 * high:+.2f})"


def _thresholds(found: Mapping[str, Any]) -> list[str]:
    """What must be known of misses and false pixels: a threshold says how many of each there are, and scores shift."""
    of = found["missed_at_equal_false"]
    false = percent(found["metrics"]["false"]["a"], 2)
    lines = [
        f"At an equal share of false pixels, A's {false}: missed anomalies A {percent(of['a'], 2)}, "
        f"B {percent(of['b'], 2)}, {_interval(of)}."
    ]
    a, b = (found["thresholds"][side] for side in "ab")
    if None not in (a, b) and a != b:
        lines.insert(
            0,
            f"The thresholds differ: A {a:.4g}, B {b:.4g}. Missed anomalies and false pixels change with them; AuPRC "
            "and FPR95 do not.",
        )
    return lines


def _left_out(found: Mapping[str, Any]) -> list[str]:
    frames = found["frames"]
    return [
        f"{count(frames[key], 'frame')} scored in {name} only: in no figure"
        for key, name in (("only_a", "A"), ("only_b", "B"))
        if frames[key]
    ]


def _rows(found: Sequence[Mapping[str, Any]], name: Any) -> list[tuple[str, ...]]:
    keys = [f"{metric}_{side}" for metric in METRICS for side in "ab"]
    return [(name(row), *(percent(row[key], 2) for key in keys)) for row in found[:_MAX_ROWS]]


def _stretch(row: Mapping[str, Any], seconds: float) -> str:
    return f"{row['bag']}, {row['block'] * seconds:g} to {(row['block'] + 1) * seconds:g} s"


def _changes(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            f"{row['bag']}, {row['camera']}",
            str(row["stamp_ns"]),
            percent(row["a"]),
            percent(row["b"]),
            f"{100 * row['change']:+.1f}",
        )
        for row in rows
    ]
