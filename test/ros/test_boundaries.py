"""What may import what."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from test.ros.harness import ROOT

ROS_PACKAGES = {"rclpy", "sensor_msgs", "std_msgs", "visualization_msgs", "diagnostic_msgs", "launch", "launch_ros"}


def imported(package: str) -> dict[str, set[str]]:
    """Top-level names each file of a package imports, anywhere in it."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
        found[str(path.relative_to(ROOT))] = names
    return found


def test_core_never_imports_ros() -> None:
    files = imported("m2a_core")
    assert len(files) > 10
    assert {path: names & (ROS_PACKAGES | {"m2a_ros"}) for path, names in files.items() if names & ROS_PACKAGES} == {}
    assert [path for path, names in files.items() if "m2a_ros" in names] == []


def test_node_never_imports_torch_or_training() -> None:
    code = "import sys, m2a_ros.node.process; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(run.stdout))
    assert "m2a_core" in loaded
    assert loaded & {"torch", "onnx", "scipy", "transformers", "matplotlib"} == set()


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
