"""The kernels' sources compiled for the processor: for comparisons without a GPU, never for inference."""

from __future__ import annotations

import shutil
from pathlib import Path

from m2a_core.errors import ModelError
from m2a_core.ops.compile import CACHE, CSRC, compile_once

_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC")


def build_host(cache: Path = CACHE, flags: tuple[str, ...] = ()) -> Path:
    """The kernels behind the C interface of ``deform_attn_api.h``, for the processor.

    Args:
        cache: where the result is kept.
        flags: more flags for the compiler; ``-DM2A_WHOLE_HEADS`` and ``-fopenmp`` mean something to the source.

    Returns:
        A shared object.

    Raises:
        ModelError: no C++ compiler, or it refused.
    """
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise ModelError("the host build of deformable attention needs a C++17 compiler: install g++")
    return compile_once([compiler, *_FLAGS, *flags], CSRC / "deform_attn_host.cpp", "deform_attn-host", cache)
