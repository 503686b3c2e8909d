"""The report of a comparison, and the command that writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from m2a_core.errors import ConfigError
from m2a_core.files import write_json, write_text
from m2a_ros.review import charts
from m2a_ros.review.compare import DEFAULT_BLOCK_S, METRICS, compare, load_replay
from m2a_ros.review.look import notice, page, percent, table

JSON_FILE, HTML_FILE = "comparison.json", "comparison.html"
_MAX_ROWS = 200
_SHORTEST_S = 0.001


def run_compare(folders: Sequence[Path], out: Path, block_s: float | None) -> str:
    """Compare two replays; writes ``comparison.json`` and ``comparison.html`` into ``out``.

    Args:
        folders: of A and of B.
        out: where to write; made if missing.
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
    if block_s is not None and not block_s >= _SHORTEST_S:
        raise ConfigError(f"--segment {block_s:g}: expected at least {_SHORTEST_S:g} seconds")
    found = compare(load_replay(folders[0]), load_replay(folders[1]), block_s or DEFAULT_BLOCK_S)
    write_json(out / JSON_FILE, found)
    write_text(out / HTML_FILE, render(found))
    lines = [found["answer"]]
    for name, of in found["metrics"].items():
        lines.append(f"  {METRICS[name][0]}: A {percent(of['a'], 2)}, B {percent(of['b'], 2)}, {_interval(of)}")
    return "\n".join([*lines, *_left_out(found), f"written to {out / HTML_FILE}"])


def render(found: Mapping[str, Any]) -> str:
    """Put a comparison (what ``compare`` gives) into a page."""
    kind = {"better": "good", "worse": "bad"}.get(found["verdict"], "")
    lead = (
        f'<p class="lead">A: {escape(found["a"])}<br>B: {escape(found["b"])}</p>'
        f'<p class="verdict {kind}">{escape(found["answer"])}</p>'
    )
    metrics = found["metrics"]
    rows = [
        (escape(f"{METRICS[n][0]} ({'higher' if METRICS[n][1] > 0 else 'lower'} is better)"), percent(of["a"], 2),
         percent(of["b"], 2), _interval(of))
        for n, of in metrics.items()
    ]  # fmt: skip
    drawn = [
        (METRICS[name][0], 100 * of["difference"], 100 * of["low"], 100 * of["high"])
        for name, of in metrics.items()
        if None not in (of["difference"], of["low"], of["high"])
    ]
    chart = charts.intervals("Differences B minus A with their 95 percent intervals, in points", drawn) if drawn else ""
    caption = "B minus A in percentage points, with 95 % intervals"
    figures = f'<figure class="panel"><figcaption>{caption}</figcaption>{chart}</figure>' if chart else ""
    sections = [
        ("attention", "What was left out", notice(_left_out(found))),
        ("differences", "Differences", figures + table("All paired frames", ("Metric", "A", "B", "B − A"), rows)),
        ("stretches", "Stretch by stretch", _stretches(found)),
        ("frames", "Frames that changed the most", _largest(found)),
        ("method", "How this was found", _method(found)),
    ]
    return page("Is B better than A on our roads?", lead, sections)


def _interval(of: Mapping[str, float | None]) -> str:
    difference, low, high = of["difference"], of["low"], of["high"]
    if difference is None:
        return "undefined"
    points = f"{100 * difference:+.2f} points"
    return points if low is None or high is None else f"{points} ({100 * low:+.2f} to {100 * high:+.2f})"


def _left_out(found: Mapping[str, Any]) -> list[str]:
    frames = found["frames"]
    return [f"{frames[key]} frames were scored in {name} only and are in no figure"
            for key, name in (("only_a", "A"), ("only_b", "B")) if frames[key]]  # fmt: skip


def _stretches(found: Mapping[str, Any]) -> str:
    seconds, rows = found["block_s"], []
    for row in found["segments"][:_MAX_ROWS]:
        name = f"{row['bag']}, {row['block'] * seconds:g} to {(row['block'] + 1) * seconds:g} s"
        rows.append((escape(name), *(percent(row[f"{m}_{side}"], 2) for m in ("auprc", "fpr95") for side in "ab")))
    return table("Each stretch alone", ("Stretch", "AuPRC A", "AuPRC B", "FPR95 A", "FPR95 B"), rows)


def _largest(found: Mapping[str, Any]) -> str:
    parts = []
    for key, caption in (("better", "B better than A"), ("worse", "B worse than A")):
        rows = [
            (escape(f"{r['bag']}, {r['camera']}"), f"<code>{r['stamp_ns']}</code>", percent(r["a"], 1),
             percent(r["b"], 1), f"{100 * r['change']:+.1f}")
            for r in found["largest"][key]
        ]  # fmt: skip
        parts.append(table(caption, ("Camera", "Stamp", "AuPRC A", "AuPRC B", "Points"), rows))
    return "".join(parts)


def _method(found: Mapping[str, Any]) -> str:
    binning = found["binning"]
    cost = "not measurable here" if binning is None else f"at most {100 * binning:.3f} points on these data"
    return (
        f"<p>{found['frames']['paired']} frames paired by bag, camera and stamp. Neighbouring frames resemble each "
        f"other, so {found['blocks']} stretches of {found['block_s']:g} s are resampled, not frames: {found['draws']} "
        "draws, the same for A and B; intervals are percentiles of the differences. Scores are binned for this; that "
        f"costs {cost}. Missed anomalies and false pixels are at each model's own threshold.</p>"
    )
