"""What a compiler without a GPU can promise of the kernels: no stack, no spills, few registers, wide accesses."""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from m2a_core.ops.compile import CSRC, find_nvcc

NVCC = find_nvcc()
ARCHITECTURES = (87, 89, 90, 110, 120)
REGISTERS = 64
"""Two blocks of 512 threads fill a multiprocessor's 65536 registers."""
KERNELS = [(way, dtype, dim) for way in ("forward", "backward") for dtype in ("fp32", "fp16") for dim in (16, 32)]
ENTRY = re.compile(r"(forward|backward)_kernelI(f|\w*?Half)E?Li(16|32)E")

pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc: the kernels cannot be compiled")


def kernel(line):
    """(way, dtype, dim) that a mangled name in the line stands for, or None."""
    found = ENTRY.search(line)
    return found and (found[1], "fp32" if found[2] == "f" else "fp16", int(found[3]))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A library for every architecture that this compiler knows, and what ptxas said of it."""
    known = subprocess.run([NVCC, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    targets = [number for number in ARCHITECTURES if f"sm_{number}" in known]
    assert 87 in targets, "every supported compiler knows Orin"
    library = tmp_path_factory.mktemp("static") / "kernel.so"
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in targets]
    command = [NVCC, "-std=c++17", "-O3", *codes, "-Xptxas", "-v", "-shared", "-Xcompiler", "-fPIC"]
    command += [CSRC / "deform_attn.cu", "-o", library]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library, targets, done.stdout + done.stderr


def reports(log):
    """{(architecture, kernel): (stack, spill stores, spill loads, registers)} from ptxas's words."""
    found, key = {}, None
    for line in log.splitlines():
        if "Compiling entry function" in line:
            key = (int(re.search(r"'sm_(\d+)'", line)[1]), kernel(line))
        elif "stack frame" in line:
            found[key] = tuple(int(number) for number in re.findall(r"(\d+) bytes", line))
        elif "registers" in line and key in found:
            found[key] += (int(re.search(r"Used (\d+) registers", line)[1]),)
    return found


def test_every_kernel_compiles_for_every_architecture_without_stack_or_spills_and_within_the_registers(built):
    _, targets, log = built
    found = reports(log)
    assert set(found) == {(target, name) for target in targets for name in KERNELS}
    assert all(numbers[:3] == (0, 0, 0) for numbers in found.values()), found
    assert max(numbers[3] for numbers in found.values()) <= REGISTERS, found
    assert "warning" not in log


def test_intermediate_code_moves_values_sixteen_bytes_at_a_time():
    """Every sample's four neighbours in both points of a step, and the result, once."""
    command = [NVCC, "-std=c++17", "-O3", "-arch=sm_87", "-DM2A_FORWARD_ONLY", "-ptx", CSRC / "deform_attn.cu"]
    ptx = subprocess.run([*command, "-o", "-"], capture_output=True, text=True, check=True).stdout
    counts, name = {}, None
    for line in ptx.splitlines():
        if ".entry" in line:
            counts[name := kernel(line)] = Counter()
        for access in re.findall(r"\b(?:ld|st)\.(?:global|wb)[\w.]*", line):
            counts[name][access[:2] + (".v4" if ".v4" in access else "")] += 1
    assert len(counts) == 4
    for name, count in counts.items():
        assert count["ld.v4"] >= 8, (name, count)
        assert count["st.v4"] == 1, (name, count)
        assert count["st"] == 0, (name, count)


def find_cuobjdump():
    """In the CUDA toolkit, or in the wheel of Triton."""
    places = [Path(NVCC).resolve().parent] if NVCC else []
    spec = importlib.util.find_spec("triton")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "backends" / "nvidia" / "bin")
    return next((found for place in places if (found := shutil.which("cuobjdump", path=place))), None)


def test_machine_code_has_wide_loads_and_stores_and_touches_no_local_memory(built):
    tool = find_cuobjdump()
    if tool is None:
        pytest.skip("no cuobjdump: it comes with the CUDA toolkit or the triton wheel")
    library, targets, _ = built
    environment = {"PATH": str(Path(tool).parent)}
    done = subprocess.run([tool, "-sass", library], capture_output=True, text=True, check=False, env=environment)
    if done.returncode or "fatal" in done.stderr:
        pytest.skip(f"{tool} is older than nvcc: {done.stderr.strip()[-200:]}")
    counts, target, name = {}, None, None
    for line in done.stdout.splitlines():
        if found := re.search(r"(?:code for|arch =) sm_(\d+)", line):
            target = int(found[1])
        elif "Function :" in line:
            counts[name := (target, kernel(line))] = Counter()
        elif found := re.search(r"\b(LDG|LDL|STG|STL)(\.[\w.]*)", line):
            counts[name][found[1] + (".128" if "128" in found[2] else "")] += 1
    assert set(counts) == {(target, name) for target in targets for name in KERNELS}
    for (target, name), count in counts.items():
        assert count["LDL"] + count["STL"] + count["LDL.128"] + count["STL.128"] == 0, (target, name)
        assert count["LDG.128"] >= (8 if name[0] == "forward" else 4), (target, name, count)
        if name[0] == "forward":
            assert (count["STG.128"], count["STG"]) == (1, 0), (target, name, count)
