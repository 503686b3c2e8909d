"""Compiling the kernel sources beside this file, once per source, compiler and target, into a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from m2a_core.errors import ModelError
from m2a_core.ops.native_code import is_as_built, make_own_folder, put_in_place

CSRC = Path(__file__).resolve().parent / "csrc"
CACHE = Path.home() / ".cache" / "m2a"
"""Where built objects live unless the caller says otherwise."""

_CUDA_FLAGS = ("-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC")


def find_nvcc() -> Path | None:
    """The CUDA compiler on the PATH or where CUDA's packages put it, or None."""
    found = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    return Path(found) if found else None


def build_cuda(capability: tuple[int, int], cache: Path = CACHE) -> Path:
    """The kernels for one GPU architecture behind the C interface of ``deform_attn_api.h``.

    Args:
        capability: compute capability, such as (8, 7).
        cache: where the result is kept.

    Returns:
        A shared object.

    Raises:
        ModelError: no CUDA compiler, or it refused; its own words are in the message.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        raise ModelError("deformable attention on this GPU needs nvcc: install the CUDA toolkit or add it to PATH")
    target = f"sm_{capability[0]}{capability[1]}"
    command = [str(nvcc), *_CUDA_FLAGS, f"-arch={target}"]
    return compile_once(command, CSRC / "deform_attn.cu", f"deform_attn-{target}", cache)


def compile_once(command: list[str], source: Path, name: str, cache: Path) -> Path:
    """Run a compiler unless the same command has been run on the same sources before.

    Args:
        command: compiler and flags; source and output are appended.
        source: one file; all files beside it count as what it includes.
        name: start of the result's file name.
        cache: folder of the results.

    Returns:
        ``cache/name-<hash>.so``.

    Raises:
        ModelError: the compiler failed, or the cache cannot be written, or by others, too.
    """
    version = subprocess.run([command[0], "--version"], capture_output=True, check=False).stdout
    content = [" ".join(command).encode(), version, *(path.read_bytes() for path in sorted(source.parent.iterdir()))]
    result = cache / f"{name}-{hashlib.sha256(b'|'.join(content)).hexdigest()[:16]}.so"
    if is_as_built(result):
        return result
    try:
        make_own_folder(cache)
        handle, partial = tempfile.mkstemp(suffix=".so", dir=cache)
    except OSError as error:
        raise ModelError(f"'{cache}': cannot be written ({error.strerror}); compiled code is kept there") from error
    os.close(handle)
    try:
        done = subprocess.run([*command, str(source), "-o", partial], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ModelError(f"'{source.name}': {Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")
        put_in_place(Path(partial), result)
    except OSError as error:
        raise ModelError(f"'{cache}': cannot be written ({error.strerror}); compiled code is kept there") from error
    finally:
        Path(partial).unlink(missing_ok=True)
    return result
