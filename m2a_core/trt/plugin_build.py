"""Building ``libm2a_trt_plugin.so`` with CMake, once per source, compiler and headers."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from m2a_core.errors import ModelError
from m2a_core.ops.compile import CACHE, CSRC, find_nvcc
from m2a_core.ops.native_code import is_as_built, make_own_folder, put_in_place

LIBRARY = "libm2a_trt_plugin.so"
SOURCE = Path(__file__).resolve().parent / "csrc"
DOWNLOADED_HEADERS = CACHE / "tensorrt-headers"
"""Where ``python -m m2a_core.trt.headers`` may put them, and where they are then found."""

_HEADER = "NvInferRuntime.h"
_IDENTITY = re.compile(rb"m2a-plugin-identity:([0-9a-f]{64})")
_LOG = logging.getLogger("m2a.trt")


def ensure_plugin(
    cache: Path = CACHE,
    headers: Path | None = None,
    architectures: Iterable[int] = (),
    say: Callable[[str], object] = _LOG.info,
) -> Path:
    """The plugin library, built now unless it has been before.

    Args:
        cache: folder of the results.
        headers: folder of TensorRT's headers; None looks where `find_headers` does.
        architectures: such as 87; empty for every one that CMakeLists.txt names and the compiler knows.
        say: told when there is something to wait for.

    Returns:
        Path of ``libm2a_trt_plugin.so``.

    Raises:
        ModelError: CMake, the CUDA compiler or the headers are missing, or the build failed; its words are in the
            message.
    """
    headers = find_headers() if headers is None else headers
    if not (headers / _HEADER).is_file():
        raise ModelError(f"'{headers}': expected TensorRT's headers there, found no {_HEADER}")
    nvcc, cmake = find_nvcc(), shutil.which("cmake")
    missing = [name for name, found in (("nvcc (CUDA toolkit)", nvcc), ("cmake", cmake)) if found is None]
    if nvcc is None or cmake is None:
        raise ModelError(f"the TensorRT plugin is built from source and needs {' and '.join(missing)}: install them")
    targets = ";".join(str(number) for number in architectures)
    library = cache / f"plugin-{_key(nvcc, headers, targets)}" / LIBRARY
    if is_as_built(library):
        return library
    say(f"building {LIBRARY} (once, about a minute) ...")
    try:
        make_own_folder(library.parent)
        scratch = tempfile.TemporaryDirectory(dir=library.parent, prefix="build-")
    except OSError as error:
        raise ModelError(f"'{cache}': cannot be written ({error.strerror}); the plugin is kept there") from error
    with scratch as folder:
        _run(
            [
                cmake,
                "-S",
                str(SOURCE),
                "-B",
                folder,
                f"-DTENSORRT_INCLUDE_DIR={headers}",
                f"-DCMAKE_CUDA_COMPILER={nvcc}",
                f"-DM2A_CUDA_ARCHITECTURES={targets}",
            ]
        )
        _run([cmake, "--build", folder])
        try:
            put_in_place(Path(folder) / LIBRARY, library)
        except OSError as error:
            raise ModelError(f"'{cache}': cannot be written ({error.strerror}); the plugin is kept there") from error
    return library


def identity_of(library: Path) -> str:
    """What a plugin library was made of: SHA-256 over its sources, compilers and flags, which CMake writes into it.

    Two builds of the same have it in common. Read from the file, which is not loaded.

    Args:
        library: the shared object.

    Returns:
        64 hexadecimal digits.

    Raises:
        ModelError: it cannot be read, or carries no identity.
    """
    try:
        found = _IDENTITY.search(library.read_bytes())
    except OSError as error:
        raise ModelError(f"{library}: cannot read the plugin library ({error.strerror})") from error
    if found is None:
        raise ModelError(
            f"{library}: no plugin library of m2a, or one of an older version: it does not say what it was made of; "
            "build it again with m2a_core/trt/csrc/CMakeLists.txt, or leave it out to have it built"
        )
    return found[1].decode()


def find_built(identity: str, cache: Path = CACHE) -> Path | None:
    """The plugin library of an identity, if it was built here: a machine that has one needs no compiler to run engines.

    Nothing is looked for beside the engine: a bundle from elsewhere would bring code along.

    Args:
        identity: of the library, see `identity_of`.
        cache: folder of `ensure_plugin`'s results.
    """
    return next((path for path in sorted(cache.glob(f"plugin-*/{LIBRARY}")) if _is(path, identity)), None)


def _is(library: Path, identity: str) -> bool:
    try:
        return is_as_built(library) and identity_of(library) == identity
    except ModelError:
        return False


def find_headers() -> Path:
    """Folder of TensorRT's headers: the system's, the downloaded ones, those of an installed kernel-lens wheel.

    Raises:
        ModelError: none; the message says how to get them.
    """
    machine = sysconfig.get_config_var("MULTIARCH") or ""
    places = [
        *(Path(place) for place in (f"/usr/include/{machine}", "/usr/include", "/usr/local/include")),
        *(Path(place) for place in ("/usr/local/tensorrt/include", "/opt/tensorrt/include")),
        DOWNLOADED_HEADERS,
    ]
    spec = importlib.util.find_spec("kernel_lens")
    if spec is not None and spec.submodule_search_locations:
        places.append(Path(spec.submodule_search_locations[0]) / "include" / "tensorrt")
    for place in places:
        if (place / _HEADER).is_file():
            return place
    raise ModelError(
        "no headers of TensorRT: JetPack and NVIDIA's containers have them; elsewhere get them with: "
        f"{sys.executable} -m m2a_core.trt.headers {DOWNLOADED_HEADERS}"
    )


def _key(nvcc: Path, headers: Path, targets: str) -> str:
    version = subprocess.run([str(nvcc), "--version"], capture_output=True, check=False).stdout
    sources = [path for folder in (SOURCE, CSRC) for path in sorted(folder.iterdir())]
    sources += sorted(headers.glob("NvInfer*.h"))
    return hashlib.sha256(b"|".join([targets.encode(), version, *(p.read_bytes() for p in sources)])).hexdigest()[:16]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # A compiler's first complaint is the cause of the rest.
        said = done.stderr.strip()[:2000] or done.stdout.strip()[-2000:]
        raise ModelError(f"the TensorRT plugin could not be built: {' '.join(command[:2])} failed:\n{said}")
