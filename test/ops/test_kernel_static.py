"""What a compiler without a GPU can promise of the kernels: no stack, no spills, few registers, wide accesses, and how
many instructions the sampling loop has.
"""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from m2a_core.ops.compile import CSRC, find_nvcc

NVCC = find_nvcc()
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 110, 120)
REGISTERS = 64
"""Two blocks of 512 threads fill a multiprocessor's 65536 registers."""
KERNELS = [(way, dtype, dim) for way in ("forward", "backward") for dtype in ("fp32", "fp16") for dim in (16, 32)]
LOOP = {
    75: (231, 231, 248, 426),
    80: (231, 231, 249, 427),
    86: (231, 231, 249, 427),
    87: (231, 231, 249, 427),
    89: (231, 231, 249, 427),
    90: (232, 232, 248, 427),
    110: (238, 238, 255, 433),
    120: (240, 240, 254, 435),
}
"""Instructions of the forward kernels' loop over samples, FP32 of widths 16 and 32 and FP16 of both, by nvcc 13.0.

Two samples a turn for FP16 of width 16, four for the rest."""
SLACK = 1.05
"""Compilers differ."""
ENTRY = re.compile(r"(forward|backward)_kernelI(f|\w*?Half)E?Li(16|32)E")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NVCC is None, reason="no nvcc: the kernels cannot be compiled")]


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
    """Every sample's four neighbours in a turn of the loop, and the result, once."""
    command = [NVCC, "-std=c++17", "-O3", "-arch=sm_87", "-DM2A_FORWARD_ONLY", "-ptx", CSRC / "deform_attn.cu"]
    ptx = subprocess.run([*map(str, command), "-o", "-"], capture_output=True, text=True, check=True).stdout
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
    """In the CUDA toolkit, or in the wheel of the development requirements."""
    places = [Path(NVCC).resolve().parent] if NVCC else []
    spec = importlib.util.find_spec("nvidia")
    if spec is not None:
        places += [Path(folder, "cu13", "bin") for folder in spec.submodule_search_locations or []]
    return next((found for place in places if (found := shutil.which("cuobjdump", path=place))), None)


@pytest.fixture(scope="module")
def machine_code(built):
    """{(architecture, kernel): [(address, instruction)]}."""
    tool = find_cuobjdump()
    if tool is None:
        pytest.skip("no cuobjdump: it comes with the CUDA toolkit or with pip install nvidia-cuda-cuobjdump")
    library, targets, _ = built
    environment = {"PATH": str(Path(tool).parent)}
    done = subprocess.run([tool, "-sass", library], capture_output=True, text=True, check=False, env=environment)
    if done.returncode or "fatal" in done.stderr:
        pytest.skip(f"{tool} is older than nvcc, or without nvdisasm beside it: {done.stderr.strip()[-200:]}")
    found, target, name = {}, None, None
    for line in done.stdout.splitlines():
        if arch := re.search(r"(?:code for|arch =) sm_(\d+)", line):
            target = int(arch[1])
        elif "Function :" in line:
            found[name := (target, kernel(line))] = []
        elif instruction := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?);", line):
            found[name].append((int(instruction[1], 16), instruction[2]))
    assert set(found) == {(target, name) for target in targets for name in KERNELS}
    return found


def loops(code):
    """Instructions of every loop, from where a branch leads back to the branch."""
    found = []
    for address, text in code:
        branch = re.search(r"\bBRA\b.*\b0x([0-9a-f]+)", text)
        if branch and int(branch[1], 16) < address:
            found.append([inside for at, inside in code if int(branch[1], 16) <= at <= address])
    return found


def test_machine_code_has_wide_loads_and_stores_and_touches_no_local_memory(machine_code):
    for (target, name), code in machine_code.items():
        count = Counter()
        for _, text in code:
            if found := re.search(r"\b(LDG|LDL|STG|STL)(\.[\w.]*)", text):
                count[found[1] + (".128" if "128" in found[2] else "")] += 1
        assert count["LDL"] + count["STL"] + count["LDL.128"] + count["STL.128"] == 0, (target, name)
        assert count["LDG.128"] >= (8 if name[0] == "forward" else 4), (target, name, count)
        if name[0] == "forward":
            assert (count["STG.128"], count["STG"]) == (1, 0), (target, name, count)


def test_sampling_loop_has_no_more_instructions_than_when_it_was_last_looked_at(machine_code):
    for (target, name), code in machine_code.items():
        if name[0] == "backward":
            continue
        _, dtype, dim = name
        samples = 2 if (dtype, dim) == ("fp16", 16) else 4
        (loop,) = [body for body in loops(code) if sum("LDG.E.128" in text for text in body) == 4 * samples]
        budget = dict(zip((("fp32", 16), ("fp32", 32), ("fp16", 16), ("fp16", 32)), LOOP[target], strict=True))
        assert len(loop) <= SLACK * budget[dtype, dim], (target, name, len(loop))
        # Handing a sample's neighbours to the other threads: an index with four flags, and four weights.
        assert sum("SHFL" in text for text in loop) == 5 * samples, (target, name)
