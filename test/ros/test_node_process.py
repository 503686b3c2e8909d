"""The node's process and its command line."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from test.ros.harness import ROOT


@pytest.mark.slow
def test_node_never_imports_torch_or_training() -> None:
    code = "import sys, m2a_ros.node.process; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(run.stdout))
    assert "m2a_core" in loaded
    assert loaded & {"torch", "onnx", "scipy", "transformers", "matplotlib"} == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--help"], 0, "usage: m2a_node"),
        (["--fast"], 2, "--fast"),
        (["--ros-args", "--params-file", "missing.yaml"], 2, "missing.yaml"),
    ],
)
def test_node_command_line(arguments: list[str], code: int, word: str) -> None:
    command = [sys.executable, "-m", "m2a_ros.node.main", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert word in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
