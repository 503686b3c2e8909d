"""The node's first moments: a signal ends it without a traceback, too little memory is said."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from typing import Any

import pytest

from m2a_ros.process.address_space import NEEDED
from test.ros.harness import PATIENCE_S, ROOT, environment

NODE = [sys.executable, "-m", "m2a_ros.node.main"]


def finished(command: list[str], domain: int, **options: Any) -> subprocess.CompletedProcess[str]:
    """A process of the node that ended by itself; ``options`` are those of ``subprocess.run``."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(domain),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        **options,
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_signal_during_imports_ends_without_a_word(how, domain) -> None:
    # An import hook that tells when ROS is being imported, which is long before there is a node.
    code = (
        "import sys\n"
        "class Tell:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'rclpy':\n"
        "            print('importing', flush=True)\n"
        "            import time; time.sleep(60)\n"
        "sys.meta_path.insert(0, Tell())\n"
        "from m2a_ros.node.main import main\n"
        "sys.exit(main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(domain),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(how)
    assert process.wait(PATIENCE_S) == 0
    assert process.stdout.read() == ""


@pytest.mark.parametrize("mebibytes", [300, 600, 800])
def test_too_little_address_space_is_said_at_start(mebibytes: int, domain) -> None:
    limit = mebibytes << 20
    assert limit < NEEDED
    run = finished(NODE, domain, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert run.returncode == 2, run.stderr
    assert f"may map {mebibytes} MiB (ulimit -v)" in run.stderr


def test_an_interrupt_that_python_drops_ends_the_start_all_the_same(domain) -> None:
    # A destructor's exceptions are ignored, an interrupt's among them.
    code = (
        "import os, signal, sys\n"
        "from m2a_ros.node import process\n"
        "from m2a_ros.process.signals import interrupt_once\n"
        "class Drops:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "interrupt_once()\n"
        "Drops()\n"
        "sys.exit(process.run(['m2a_node']))\n"
    )
    run = finished([sys.executable, "-c", code], domain)
    assert run.returncode == 0, run.stderr
    assert "KeyboardInterrupt" in run.stderr, "the interrupt was not dropped: nothing is tested"
