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


def test_a_signal_while_the_node_is_made_ends_without_a_traceback(domain) -> None:
    code = (
        "import os, signal, sys\n"
        "from m2a_ros.node import main, node\n"
        "class Interrupted:\n"
        "    def __init__(self, *arguments):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "node.Watchdog = Interrupted\n"
        "sys.exit(main.main([]))\n"
    )
    run = finished([sys.executable, "-c", code], domain)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr


# What the main thread does when the signal comes, and what it does then.
HANGS = {
    "at the end": ("time.sleep(60)", "threading.Event().wait()"),
    "in a library since before the signal": ("lock(mutex), lock(mutex)", "lock(mutex), lock(mutex)"),
    "in a library that holds Python's lock": ("time.sleep(60)", "time.sleep(0.2); ctypes.PyDLL(None).sleep(60)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize("where", HANGS)
def test_an_end_that_hangs_is_forced(where: str, how: signal.Signals) -> None:
    first, then = HANGS[where]
    code = (
        "import ctypes, threading, time\n"
        "from m2a_ros.process.signals import end_in_time, interrupt_once\n"
        "end_in_time(0.5)\n"
        "interrupt_once()\n"
        "lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)\n"
        f"try:\n    print('ready', flush=True); {first}\n"
        f"except KeyboardInterrupt:\n    {then}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(how)
    _, told = process.communicate(timeout=PATIENCE_S)
    if "lock" in where:
        assert process.returncode == -signal.SIGALRM
    else:
        assert process.returncode == 1
        assert "not ended 0.5 s after the signal" in told
        assert "most recent call first" in told


def test_leaving_flushes_what_was_said_and_waits_for_no_thread() -> None:
    code = (
        "import threading\n"
        "from m2a_ros.process.signals import leave\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "print('said', end='')\n"
        "leave(6)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert (run.returncode, run.stdout) == (6, "said")
