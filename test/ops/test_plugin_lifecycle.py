"""The plugin's C++ under AddressSanitizer and UndefinedBehaviorSanitizer, called as TensorRT calls it."""

import subprocess
from pathlib import Path

import pytest

from m2a_core.ops.compile import CSRC, find_nvcc
from m2a_core.trt.plugin_build import SOURCE

pytestmark = pytest.mark.slow

HARNESS = Path(__file__).with_name("plugin_lifecycle.cpp")
SANITIZERS = "-fsanitize=address,-fsanitize=undefined,-fno-sanitize-recover=all,-Wall,-Wextra,-g"


@pytest.mark.skipif(find_nvcc() is None, reason="no nvcc: TensorRT's headers need CUDA's")
def test_plugin_lives_and_dies_without_a_fault(tensorrt_headers, tmp_path):
    sources = [HARNESS, *SOURCE.glob("*.cpp"), CSRC / "deform_attn_host.cpp"]
    command = [find_nvcc(), "-std=c++17", "-O0", "-Xcompiler", SANITIZERS, "-isystem", tensorrt_headers]
    command += ["-I", SOURCE, "-I", CSRC, *sources, "-o", tmp_path / "lifecycle"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    assert "warning" not in compiled.stderr
    run = subprocess.run([tmp_path / "lifecycle"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    # What it refuses it says, where TensorRT has given no logger.
    assert run.stderr.count("plugin MSDeformAttn: ") == 1 + 3 * 4
