"""The doctor's checks that need no ROS."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2a_core.doctor.findings import Finding, Level, lines, run_checks, summary
from m2a_core.doctor.model_checks import check_models
from m2a_core.doctor.python_checks import check_packages, check_python, fits, twins
from test.tiny_bundle import write_tiny_bundle


def test_a_check_that_breaks_is_a_finding_and_costs_no_other():
    def broken() -> list[Finding]:
        raise RuntimeError("no such thing")

    found = list(run_checks([broken, lambda: [Finding("next", Level.OK, "fine")]]))
    assert [f.level for f in found] == [Level.WARNING, Level.OK]
    assert "no such thing" in found[0].text


def test_remedies_stand_below_what_they_mend():
    shown = list(lines([Finding("a", Level.ERROR, "is broken", "fix it"), Finding("b", Level.OK, "fine")]))
    assert shown == ["FAIL  a: is broken", "      -> fix it", "ok    b: fine"]


def test_the_summary_counts_errors_and_warnings():
    assert summary([Finding("a", Level.NOTE, "")]) == "no problems found"
    levels = [Level.ERROR, Level.WARNING, Level.WARNING, Level.OK]
    assert summary([Finding("a", level, "") for level in levels]) == "1 error, 2 warnings"


def test_this_installation_has_no_errors():
    found = [*check_python(), *check_packages(), *check_models()]
    assert [f for f in found if f.level is Level.ERROR] == []


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["opencv-python-headless", "numpy"], False),
        (["opencv_python", "opencv-python-headless"], True),
        (["onnxruntime", "onnxruntime-gpu", None], True),
    ],
)
def test_packages_that_overwrite_each_other_are_told(names, warned):
    assert bool(list(twins(names))) is warned


def test_a_damaged_model_is_an_error_that_says_how_to_mend_it(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    assert [f.level for f in check_models([str(bundle)])] == [Level.OK]
    graph = next(bundle.glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1])
    (finding,) = check_models([str(bundle)])
    assert finding.level is Level.ERROR
    assert "SHA-256" in finding.text
    assert finding.remedy


def test_a_module_of_the_distribution_is_there_although_pip_does_not_know_it():
    """Debian's python3-opencv: no metadata of opencv-python-headless, whose wheel would bring another NumPy."""
    (found,) = fits("no-such-distribution>=4.7", {"no-such-distribution": "json"})
    assert (found.level, found.remedy) == (Level.OK, "")


def test_a_requirement_that_nothing_fulfils_is_missing_or_too_old():
    (missing,) = fits("no-such-distribution>=4.7")
    assert (missing.level, missing.text) == (Level.ERROR, "missing")
    (old,) = fits("numpy>=1000.1")
    assert old.level is Level.ERROR
    assert "numpy>=1000.1" in old.remedy
    assert not list(fits("numpy>=1"))
