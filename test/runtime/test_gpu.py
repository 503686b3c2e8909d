"""Which GPU is here, and why one cannot be used; the CUDA runtime is a fake."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings", reason="needs cuda-python")

from m2a_core.doctor.findings import Level
from m2a_core.doctor.gpu_checks import check_gpu
from m2a_core.errors import InferenceError, ModelError, NoGpuError, RestartNeededError
from m2a_core.extras import install_command
from m2a_core.trt import gpu
from m2a_core.trt.cuda import call
from m2a_core.trt.gpu import Gpu, find_gpu, gpu_or_reason
from test.runtime.fake_cuda import ERROR, FakeCuda, install


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    return install(monkeypatch)


def test_gpu_has_architecture_name_and_memory(cuda):
    assert find_gpu(0) == gpu_or_reason(0) == Gpu("sm89", "RTX 4090", 24 * 2**30)


def without_driver(cuda: FakeCuda) -> None:
    cuda.driver = 0


def jetpack_6(cuda: FakeCuda) -> None:
    cuda.driver = 12060


def without_device(cuda: FakeCuda) -> None:
    cuda.fail["cudaGetDeviceCount"] = ERROR.cudaErrorNoDevice


def with_a_broken_device(cuda: FakeCuda) -> None:
    cuda.fail["cudaGetDeviceProperties"] = ERROR.cudaErrorDevicesUnavailable


@pytest.mark.parametrize(
    ("change", "device", "message"),
    [
        (without_driver, 0, "no NVIDIA driver; in a container: .*--runtime nvidia"),
        (jetpack_6, 0, r"driver is for CUDA 12\.6, .* for CUDA 13: pip install 'cuda-python==12\.\*'.*580"),
        (without_device, 0, "no GPU .cudaErrorNoDevice. and no NVIDIA device in /dev"),
        (with_a_broken_device, 0, "device 0 does not answer: cudaErrorDevicesUnavailable"),
        (lambda _: None, 1, "device 1: expected a GPU's index, 0 to 0"),
        (lambda _: None, -1, "device -1: expected a GPU's index"),
    ],
)
def test_reason_is_the_one_that_applies(cuda, monkeypatch, tmp_path, change, device, message):
    monkeypatch.setattr(gpu, "DEVICE_NODES", (f"{tmp_path}/*",))
    change(cuda)
    with pytest.raises(NoGpuError, match=message):
        find_gpu(device)
    assert str(gpu_or_reason(device)) != ""


def test_older_binding_works_with_a_newer_driver(cuda):
    cuda.runtime = 12060
    assert find_gpu(0).architecture == "sm89"


def test_missing_permission_names_files_and_numeric_groups(cuda, monkeypatch, tmp_path):
    node = tmp_path / "nvmap"
    node.touch()
    monkeypatch.setattr(gpu, "DEVICE_NODES", (f"{tmp_path}/*",))
    # Root may open everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != node)
    without_device(cuda)
    group = node.stat().st_gid
    with pytest.raises(
        NoGpuError, match=rf"no permission for .*nvmap: user \d+ .* groups {group}; .*--group-add {group}"
    ):
        find_gpu(0)


def test_device_that_is_there_and_open_leaves_cudas_own_word(cuda, monkeypatch, tmp_path):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(gpu, "DEVICE_NODES", (f"{tmp_path}/*",))
    cuda.fail["cudaGetDeviceCount"] = ERROR.cudaErrorUnknown
    with pytest.raises(NoGpuError, match="though its devices are in /dev: cudaErrorUnknown"):
        find_gpu(0)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (ERROR.cudaErrorMemoryAllocation, ModelError, "out of GPU memory"),
        (ERROR.cudaErrorInvalidValue, InferenceError, "cudaMalloc failed: cudaErrorInvalidValue"),
        (ERROR.cudaErrorIllegalAddress, RestartNeededError, "lost the GPU .*: restart needed"),
        (ERROR.cudaErrorLaunchFailure, RestartNeededError, "restart needed"),
    ],
)
def test_status_of_a_call_decides_what_can_be_done_about_it(cuda, status, kind, message):
    cuda.fail["cudaMalloc"] = status
    with pytest.raises(kind, match=message) as raised:
        call("cudaMalloc", 16)
    assert type(raised.value) is kind


def test_binding_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(NoGpuError, match=re.escape(install_command("trt"))):
        find_gpu(0)


@pytest.mark.usefixtures("cuda")
def test_doctor_names_the_gpu_where_the_binding_came_with_pytorch(monkeypatch):
    def version(package: str) -> str:
        if package == "cuda-bindings":
            return "13.1.0"
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    finding = next(check_gpu())
    assert (finding.level, finding.text) == (Level.OK, "RTX 4090, sm89, 24 GiB; cuda-bindings 13.1.0")
