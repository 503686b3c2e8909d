"""Processes of a benchmark that answer each line of text with one of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2a_ros.process.dds import local_environment

ROOT = Path(__file__).resolve().parents[1]


class AnsweringProcess:
    """A module of the project; what it has to say goes to a log."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, domain: int | None = None) -> None:
        """Start it, in a ROS domain where it needs one."""
        self.log = log
        ros = {} if domain is None else {**local_environment({}), "ROS_DOMAIN_ID": str(domain)}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**os.environ, **ros},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a process of the benchmark ended:\n{self.log.read_text()[-3000:]}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
