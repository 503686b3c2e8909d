"""The benchmark of the node's overhead still runs and adds up; its figures do not matter here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.ros.harness import ROOT, python_path

OUTPUTS = {
    "anomaly_map",
    "open_set_mask",
    "panoptic",
    "unknown_instances",
    "unknown_markers",
    "overlay",
    "overlay_compressed",
}


def run(domain: int, *arguments: str) -> list[str]:
    command = [sys.executable, "benchmarks/ros_overhead.py", "--height=96", "--width=128", "--rate=20", "--frames=10"]
    done = subprocess.run(
        [*command, f"--domain={domain}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_both_ways_answer_on_every_output_and_are_compared(domain: int) -> None:
    *sides, ratio = run(domain)
    for name, line in zip(("constant", "usual"), sides, strict=True):
        figures = json.loads(line)
        assert figures["side"] == name
        assert set(figures["outputs"]) == OUTPUTS
        assert 0 < figures["answered"] <= figures["sent"] == 10
        assert min(figures["outputs"].values()) > 0
        assert figures["answered"] <= figures.get("received", 10) <= 10
        assert min(figures["rss_mib"]) > 10
    assert ratio.startswith("CPU per frame, the usual way : the node = ")


@pytest.mark.slow
def test_share_that_is_no_inference_is_told_for_a_model_and_the_outputs_that_are_named(domain: int, tiny: Path) -> None:
    (line,) = run(domain, "--side=model", f"--model={tiny}", "--output=open_set_mask", "--output=unknown_markers")
    figures = json.loads(line)
    assert set(figures["outputs"]) == {"open_set_mask", "unknown_markers"}
    assert 0 < figures["not_inference_share"] <= 1
