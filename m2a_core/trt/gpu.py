"""Which GPU is here or, if none can be used, why not: the answers differ in what fixes them."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from typing import Any

from m2a_core.errors import NoGpuError
from m2a_core.extras import install_command
from m2a_core.trt.cuda import load_binding

DEVICE_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia[0-9]*")
_JETSON_NODES = ("/dev/nvmap", "/dev/nvhost-ctrl-gpu", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0/*", "/dev/dri/renderD*")
"""Jetsons give these to the groups video and render; elsewhere a render node may be of another maker's GPU."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that CUDA can use.

    Attributes:
        architecture: such as ``sm87``.
        name: such as ``Orin``; GPUs of one architecture differ in it.
        memory: bytes; a Jetson's is the machine's.
    """

    architecture: str
    name: str
    memory: int


def find_gpu(device: int) -> Gpu:
    """The GPU of an index.

    Raises:
        NoGpuError: with the reason.
    """
    runtime = load_binding()
    _check_driver(runtime)
    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess:
        raise NoGpuError(_why_no_device(status.name))
    if not 0 <= device < count:
        raise NoGpuError(f"device {device}: expected a GPU's index, 0 to {count - 1}")
    status, found = runtime.cudaGetDeviceProperties(device)
    if status != runtime.cudaError_t.cudaSuccess:
        raise NoGpuError(f"device {device} does not answer: {status.name}")
    name = found.name.decode(errors="replace").rstrip("\0")
    return Gpu(f"sm{found.major}{found.minor}", name, int(found.totalGlobalMem))


def gpu_or_reason(device: int) -> Gpu | NoGpuError:
    """The GPU of an index or, where doing without is possible, the reason why there is none."""
    try:
        return find_gpu(device)
    except NoGpuError as error:
        return error


def _check_driver(runtime: Any) -> None:
    _, driver = runtime.cudaDriverGetVersion()
    _, wanted = runtime.cudaRuntimeGetVersion()
    if not driver:
        raise NoGpuError(
            "no NVIDIA driver; in a container: it must be started with NVIDIA's runtime (--runtime nvidia or "
            "--gpus all)"
        )
    major, needed = driver // 1000, wanted // 1000
    if major < needed:
        minor = driver % 1000 // 10
        raise NoGpuError(
            f"the driver is for CUDA {major}.{minor}, the installed cuda-python for CUDA {needed}: "
            f"pip install 'cuda-python=={major}.*' (on JetPack 6: {install_command('trt-cuda12')}), or a newer driver "
            "(CUDA 13 needs 580)"
        )


def _why_no_device(status: str) -> str:
    patterns = DEVICE_NODES + (_JETSON_NODES if os.path.exists("/dev/nvmap") else ())
    nodes = sorted(path for pattern in patterns for path in glob.glob(pattern) if not os.path.isdir(path))
    closed = [path for path in nodes if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        groups = sorted({os.stat(path).st_gid for path in closed})
        return (
            f"no permission for {', '.join(closed)}: user {os.getuid()} is in none of the groups "
            f"{', '.join(map(str, groups))}; in a container: {' '.join(f'--group-add {group}' for group in groups)}"
        )
    if not nodes:
        return (
            f"no GPU ({status}) and no NVIDIA device in /dev; in a container: it must be started with NVIDIA's "
            "runtime (--runtime nvidia or --gpus all)"
        )
    return f"CUDA finds no GPU though its devices are in /dev: {status}"
