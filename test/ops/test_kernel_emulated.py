"""The GPU's source, deform_attn.cu, on the CPU under its own launch grid: blocks, warps, shuffles, guard pages."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m2a_core.ops.compile import CSRC
from test.ops.emulation.build import compiled, emulated_kernel

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++: the kernels cannot be built for the CPU"),
]


@pytest.fixture(scope="module")
def host_build(tmp_path_factory):
    return compiled(CSRC / "deform_attn_host.cpp", tmp_path_factory.mktemp("host") / "host.so")


def check(folder: Path, sources: Path, host_build: Path) -> subprocess.CompletedProcess[str]:
    emulated = emulated_kernel(folder / "emulated.so", sources)
    command = [sys.executable, "-m", "test.ops.emulation.check", emulated, host_build]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_every_thread_of_every_block_stays_within_its_tensors_and_agrees_with_the_host_build(tmp_path, host_build):
    done = check(tmp_path, CSRC, host_build)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("file", "right", "mistake", "said"),
    [
        ("deform_attn.cu", "head < problem.heads ? head : problem.heads - 1", "head", ""),
        ("deform_attn.h", "at.inside[3] << 3", "1 << 3", ""),
        ("deform_attn.cu", "found.weight[i], sample, Lanes", "found.weight[i], 0, Lanes", "wrong: "),
        ("deform_attn.cu", "image = blockIdx.z;\n    const int key", "image = 0;\n    const int key", "wrong: "),
        ("deform_attn.cu", "    float sum[", "    if (!query.exists) return;\n    float sum[", "that has left"),
    ],
    ids=["head that does not exist", "corner outside", "wrong thread", "wrong image", "threads that leave"],
)
def test_mistake_in_the_kernel_is_found(tmp_path, host_build, file, right, mistake, said):
    sources = tmp_path / "csrc"
    shutil.copytree(CSRC, sources)
    text = (sources / file).read_text()
    assert text.count(right) == 1
    (sources / file).write_text(text.replace(right, mistake))
    done = check(tmp_path, sources, host_build)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
