from __future__ import annotations

import subprocess
import sys

import pytest

from test.ros.harness import ROOT


@pytest.mark.slow
def test_m2a_lists_core_and_ros_commands_without_loading_ros_or_torch() -> None:
    code = (
        "import sys\nfrom m2a_ros.main import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: print('code', end.code)\n"
        "print('loaded', sorted({'rclpy', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for word in ("predict", "export", "demo", "replay", "bag", "code 0", "loaded []"):
        assert word in run.stdout, run.stdout + run.stderr
