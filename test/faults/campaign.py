"""Runs cases in processes of their own, so that a crash or a hang is one finding and not the end."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

from test.faults.measured import PROMISES

ROOT = Path(__file__).resolve().parents[2]
_START_S = 180.0
"""Until a worker's first line: imports, discovery, a model; on a machine that is busy."""
SKIPPED = "skipped: "
"""How the outcome of a case begins that this machine cannot run."""
KINDS = {
    "crashes": ("the process ended with code -", "ended by signal", "ended with -"),
    "hangs": ("hangs", "TimeoutExpired"),
    "wrong stamps": ("wrong stamp",),
}
"""The worst that a finding can be, and the words that tell."""
_WORST = 40
"""Findings of a part after which its workers stop: a defect that every case meets."""


@dataclass(frozen=True)
class Part:
    """Cases of one kind.

    Attributes:
        name: of the part, and of its module in ``test.faults``.
        what: what is tried, for the table.
        count: cases of a whole campaign.
        limit_s: after which a case counts as a hang.
        chunk: cases that one worker process is given.
    """

    name: str
    what: str
    count: int
    limit_s: float
    chunk: int


@dataclass
class Tally:
    """What came of a part's cases."""

    part: Part
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    measured: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        return self.outcomes.total() + len(self.findings)

    @property
    def skipped(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome.startswith(SKIPPED))

    @property
    def survived(self) -> int:
        return self.outcomes.total() - self.skipped


def run(parts: Sequence[Part], seed: int, jobs: int, say: Callable[[str], object] = print) -> list[Tally]:
    """Run all cases; the same seed gives the same cases, however many jobs there are."""
    tallies = [Tally(part) for part in parts]
    lock = threading.Lock()

    def chunk(tally: Tally, first: int, last: int) -> None:
        start = time.monotonic()
        while first < last and len(tally.findings) < _WORST:
            first = _work(tally, seed, first, last, lock, say)
        with lock:
            tally.seconds += time.monotonic() - start

    with ThreadPoolExecutor(jobs) as executor:
        futures = [
            executor.submit(chunk, tally, first, min(first + tally.part.chunk, tally.part.count))
            for tally in tallies
            for first in range(0, tally.part.count, tally.part.chunk)
        ]
        for future in futures:
            future.result()
    return tallies


def _work(tally: Tally, seed: int, first: int, last: int, lock: threading.Lock, say: Callable[[str], object]) -> int:
    """One worker's life; returns the case that the next one begins with."""

    def find(case: int, text: str) -> None:
        with lock:
            tally.findings.append(f"{tally.part.name} {case} (seed {seed}): {text}")
        say(f"FOUND {tally.findings[-1]}")

    with tempfile.TemporaryDirectory(prefix="m2a_faults_") as folder, Path(folder, "stderr").open("w+b") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "test.faults.worker", tally.part.name, str(seed), str(first), str(last), folder],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", "PYTHONPATH": str(ROOT)},
        )
        lines: queue.Queue[str | None] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        running, ended, limit = None, first, _START_S
        try:
            while True:
                try:
                    line = lines.get(timeout=limit)
                except queue.Empty:
                    process.kill()
                    find(ended, f"hangs: no answer for {limit:.0f} s")
                    return last if running is None else ended + 1
                if line is None:
                    break
                word, _, rest = line.rstrip("\n").partition(" ")
                if word == "begin":
                    running, limit = int(rest), tally.part.limit_s
                elif word in ("end", "fault"):
                    number, _, text = rest.partition(" ")
                    running, ended = None, int(number) + 1
                    if word == "fault":
                        find(int(number), text)
                    else:
                        with lock:
                            tally.outcomes[text] += 1
                elif word == "measured":
                    seconds, _, promise = rest.partition(" ")
                    with lock:
                        tally.measured[promise].append(float(seconds))
        finally:
            end(process)
        if process.returncode != 0 or running is not None:
            errors.seek(0)
            tail = errors.read().decode(errors="replace").strip().splitlines()[-12:]
            find(ended, f"the process ended with code {process.returncode}: {' | '.join(tail)}")
            return last if running is None else ended + 1
        return last


def _pump(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def end(process: subprocess.Popen[Any]) -> None:
    """Wait for a process that is about to end; one that hangs is killed."""
    try:
        process.wait(20.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def table(tallies: Sequence[Tally]) -> str:
    """What was tried and what came of it, as Markdown."""
    lines = ["| part | tried | survived | found | outcomes | s |", "| --- | --- | --- | --- | --- | --- |"]
    for tally in tallies:
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(tally.outcomes.items()))
        lines.append(
            f"| {tally.part.what} | {tally.tried} | {tally.survived} | {len(tally.findings)} | {outcomes} | "
            f"{tally.seconds:.0f} |"
        )
    return "\n".join(lines)


def kinds(findings: Sequence[str]) -> dict[str, int]:
    """How many findings are crashes, hangs, wrong stamps, and others."""
    found = dict.fromkeys((*KINDS, "others"), 0)
    for finding in findings:
        found[next((kind for kind, words in KINDS.items() if any(w in finding for w in words)), "others")] += 1
    return found


def promises(tallies: Sequence[Tally]) -> tuple[str, list[str]]:
    """What was measured of the node's promises, as Markdown, and those whose median is beyond the limit."""
    lines = ["| promise | limit, s | cases | median, s | worst, s |", "| --- | --- | --- | --- | --- |"]
    broken = []
    for promise, limit in PROMISES.items():
        taken = [seconds for tally in tallies for seconds in tally.measured[promise]]
        if taken:
            lines.append(f"| {promise} | {limit:g} | {len(taken)} | {median(taken):.2f} | {max(taken):.2f} |")
        if taken and median(taken) > limit:
            broken.append(f"{promise}: {median(taken):.2f} s in the median, promised are {limit:g} s")
    return ("\n".join(lines), broken) if len(lines) > 2 else ("", [])
