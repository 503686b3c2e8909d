"""Progress: bars on a terminal, seldom lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

from m2a_core import progress
from m2a_core.progress import ProgressBar, stages


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_short_work_prints_nothing_into_a_pipe(capsys):
    for _ in ProgressBar(range(1000), desc="pixels", unit="frame"):
        pass
    with ProgressBar(total=3, unit="frame") as bar:
        bar.update()
        bar.set_postfix(loss=1)
    assert capsys.readouterr().err == ""


def test_long_work_prints_a_line_an_interval_into_a_pipe(capsys, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for i in ProgressBar(range(65), desc="pixels", unit="frame"):
        clock.now += 1
        if i == 30:
            ProgressBar.write("said between", file=sys.stderr)
    written = capsys.readouterr().err
    lines = [line.partition(" in ")[0] for line in written.splitlines()]
    assert lines == [
        *(f"pixels: {n}/65 frames" for n in (10, 20, 30)),
        "said between",
        *(f"pixels: {n}/65 frames" for n in (40, 50, 60, 65)),
    ]
    assert "\r" not in written


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        for _ in ProgressBar(range(5), desc="pixels"):
            pass
    assert "100%" in terminal.getvalue()
    assert "\r" in terminal.getvalue()


def test_nothing_is_shown_where_it_is_switched_off(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(ProgressBar(range(3), disable=True)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_long_stage_is_not_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    with stages("export") as begin:
        begin("tracing")
        deadline, written = time.monotonic() + 5, ""
        while "tracing" not in written and time.monotonic() < deadline:
            time.sleep(0.01)
            written += capsys.readouterr().err
    assert written.splitlines()[0].startswith("export: tracing: 00:")
