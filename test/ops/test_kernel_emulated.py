"""The GPU's source, deform_attn.cu, on the CPU under its own launch grid: blocks, warps, shuffles, guard pages."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m2a_core.ops.compile import CSRC

HERE = Path(__file__).parent / "emulation"
ROOT = HERE.parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="no g++: the kernels cannot be built for the CPU")


def compiled(source: Path, out: Path, *flags: object) -> Path:
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", *flags, source, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def host_build(tmp_path_factory):
    return compiled(CSRC / "deform_attn_host.cpp", tmp_path_factory.mktemp("host") / "host.so")


def check(folder: Path, sources: Path, host_build: Path) -> subprocess.CompletedProcess[str]:
    # Fibers jump between stacks, which the fortified longjmp of some distributions takes for an attack.
    flags = ["-Wall", "-Werror", "-U_FORTIFY_SOURCE", "-x", "c++", "-include", HERE / "cuda.h"]
    emulated = compiled(sources / "deform_attn.cu", folder / "emulated.so", *flags)
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
