"""Arrays of one frame take the memory of those of the frame before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading
import numpy as np
from m2a_ros.process.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def frames(count):
    for _ in range(count):
        arrays = [np.empty(size << 20, np.uint8) for size in (8, 2, 4, 4, 8, 2, 4, 4)]
        for array in arrays:
            array.fill(1)

def measure():
    frames(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_frames_on_another_thread_cost_no_page_faults_once_memory_is_kept() -> None:
    assert page_faults("keep") < 20
    assert page_faults("default") > 200
