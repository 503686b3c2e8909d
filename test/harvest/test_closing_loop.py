"""Which steps of the loop's benchmark run."""

from __future__ import annotations

import pytest

from benchmarks import closing_loop


@pytest.fixture
def ran(monkeypatch):
    """Names of the steps that ran; training fails as long as ``broken`` is in it."""
    steps: list[str] = []

    def step(name):
        def run(*_):
            if name == "train" and "broken" in steps:
                raise RuntimeError(name)
            steps.append(name)

        return run

    for name in closing_loop.STEPS:
        monkeypatch.setattr(closing_loop, name, step(name))
    return steps


def call(folder, *more):
    closing_loop.main(["--data", str(folder), "--out", str(folder), *more])


def test_call_goes_on_after_the_last_step_that_was_done(ran, tmp_path):
    ran.append("broken")
    with pytest.raises(RuntimeError):
        call(tmp_path)
    assert ran == ["broken", "drives", "name"]
    ran.clear()
    call(tmp_path)
    assert ran == ["train", "thresholds", "measure"]
    ran.clear()
    call(tmp_path)
    assert ran == []


def test_steps_after_one_that_is_done_again_run_again(ran, tmp_path):
    call(tmp_path)
    call(tmp_path, "train")
    ran.clear()
    call(tmp_path)
    assert ran == ["thresholds", "measure"]


def test_other_options_begin_anew(ran, tmp_path):
    call(tmp_path)
    ran.clear()
    call(tmp_path, "--steps", "7")
    assert ran == list(closing_loop.STEPS)
