"""Progress: bars on a terminal, seldom lines elsewhere."""

from __future__ import annotations

import io
import sys
import time

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


def test_long_work_prints_whole_lines_into_a_pipe_and_not_more_than_one_an_interval(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    began = time.monotonic()
    for i in ProgressBar(range(60), desc="pixels", unit="frame"):
        time.sleep(0.004)
        if i == 30:
            ProgressBar.write("said between", file=sys.stderr)
    took = time.monotonic() - began
    written = capsys.readouterr().err
    *lines, last = written.splitlines()
    lines.remove("said between")
    assert 1 <= len(lines) <= took / 0.05
    assert all(line.startswith("pixels: ") and " frames in 00:00" in line for line in lines)
    assert last == "pixels: 60/60 frames in 00:00"
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
    assert written.splitlines()[0] == "export: tracing: 00:00"
