"""A GPU that is lost: the process ends with a code of its own, and a supervisor starts a new one."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from m2a_core.errors import InferenceError, RestartNeededError
from m2a_ros.node.frame_steps import FrameSteps
from test.ros.harness import PATIENCE_S, ROOT, environment

LOST = RestartNeededError("cudaStreamSynchronize failed: cudaErrorIllegalAddress; restart needed")


class LosingSteps:
    """Steps over a network that fails, and what they report."""

    def __init__(self, error: InferenceError) -> None:
        def run(_: Any, meanwhile: Any) -> None:
            self.runs += 1
            raise error

        self.runs = 0
        self.failed: list[str] = []
        self.lost: list[RestartNeededError] = []
        cameras = ("left", "right")
        pipelines: Any = {c: SimpleNamespace(fail=lambda job, _: self.failed.append(job.image.camera)) for c in cameras}
        config: Any = SimpleNamespace(perception=SimpleNamespace(run=run))
        self.jobs: Any = [SimpleNamespace(image=SimpleNamespace(camera=c), config=config, task=None) for c in cameras]
        self.steps = FrameSteps(pipelines, {}, lambda: config, lambda *_: None, self.lost.append)


def test_lost_gpu_is_reported_once_for_a_batch_whose_frames_are_counted() -> None:
    losing = LosingSteps(LOST)
    assert list(losing.steps.infer(losing.jobs)) == []
    assert losing.lost == [LOST]
    assert losing.failed == ["left", "right"]
    assert losing.runs == 1


def test_failed_frame_ends_nothing() -> None:
    losing = LosingSteps(InferenceError("TensorRT failed on a frame"))
    assert list(losing.steps.infer(losing.jobs)) == []
    assert losing.lost == []
    assert losing.failed == ["left", "right"]


def test_process_ends_with_the_errors_code(domain: int) -> None:
    code = f"""
import sys, threading
from m2a_core.errors import RestartNeededError
from m2a_ros.node import process
lost = RestartNeededError({str(LOST)!r})
process.M2aNode.start = lambda node: threading.Thread(target=node._give_up, args=(lost, None)).start()
sys.exit(process.run(["m2a_node"]))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(domain),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode == RestartNeededError.exit_code, run.stderr
    assert "ending with code 6: cudaStreamSynchronize failed: cudaErrorIllegalAddress" in run.stderr + run.stdout
    assert "Traceback" not in run.stderr
