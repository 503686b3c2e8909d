"""What the benchmark of real time is asked for is checked before processes are started."""

from __future__ import annotations

import sys

import pytest

from benchmarks import real_time


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--cameras", "0"], "--cameras 0"),
        (["--rate", "nan"], "--rate nan"),
        (["--seconds", "-1"], "--seconds -1.0"),
        (["--size", "640"], "--size 640"),
        (["--size", "640x0"], "--size 640x0"),
        (["--size", "axb"], "--size axb"),
        (["--stand-in-ms", "-5"], "stand-in of -5.0 ms"),
        (["--stand-in-batch-ms", "30,b"], "--stand-in-batch-ms 30,b"),
        (["--outputs", "markers"], "--outputs markers"),
    ],
)
def test_an_option_that_cannot_be_is_named(monkeypatch, options, named):
    monkeypatch.setattr(sys, "argv", ["real_time.py", *options])
    monkeypatch.setattr(real_time, "measure", lambda *_: pytest.fail("started"))
    with pytest.raises(SystemExit, match=named):
        real_time.main()
