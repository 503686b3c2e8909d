"""One thin adapter over ``tensorrt`` and ``tensorrt_rtx``: what differs between them is here and nowhere else."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from m2a_core.contract.plugin import OP_TYPE, PLUGIN_NAMESPACE, PLUGIN_VERSION
from m2a_core.errors import ConfigError, ModelError, NoGpuError
from m2a_core.extras import install_command
from m2a_core.ops.native_code import require_own
from m2a_core.trt.gpu import Gpu

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"
BACKENDS = (TENSORRT, TENSORRT_RTX)

_INSTALL = {
    TENSORRT: "it comes with JetPack and with NVIDIA's containers; a virtual environment sees it when made with "
    "--system-site-packages",
    TENSORRT_RTX: install_command("trt"),
}
_KEPT_MESSAGES = 50
_LOG = logging.getLogger("m2a.trt")
_IN_USE: dict[str, Path] = {}
_LINKS: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until the process ends: the parser looks its links up late."""


class Backend:
    """A loaded TensorRT.

    Attributes:
        name: one of ``BACKENDS``.
        trt: its Python module.
        logger: the process's one: TensorRT keeps the first that it is given and complains of others.
        messages: errors that TensorRT logged since ``take_errors`` was last called.
    """

    def __init__(self, name: str, trt: Any) -> None:
        """Wrap an imported module."""
        self.name = name
        self.trt = trt
        self.logger, self.messages = _logger_of(trt)

    @property
    def version(self) -> str:
        """Version of TensorRT."""
        return str(self.trt.__version__)

    def take_errors(self) -> str:
        """What went wrong since the last call, in TensorRT's words, joined."""
        text = "; ".join(dict.fromkeys(self.messages)) or "TensorRT gave no reason"
        self.messages.clear()
        return text

    def load_plugin(self, library: Path) -> None:
        """Register our plugin; where the process has one already, that one stays.

        Raises:
            ModelError: the library is missing, can be written by others than this user and root, does not load or
                holds no such plugin.
        """
        if not library.is_file():
            raise ModelError(f"{library}: no such plugin library; leave it out to have it built, or name another")
        if self.creator() is not None:
            return
        handle = self.trt.get_plugin_registry().load_library(str(require_own(library)))
        if handle is None or self.creator() is None:
            raise ModelError(
                f"{library}: {self.name} {self.version} does not load plugin {OP_TYPE} version {PLUGIN_VERSION} from "
                f"it ({self.take_errors()}); build the plugin again on this machine"
            )
        _IN_USE[self.name] = library

    @property
    def plugin_in_use(self) -> Path | None:
        """The library that the process has its plugin of; None where it was loaded by somebody else, or not yet."""
        return _IN_USE.get(self.name)

    def compute_capabilities(self) -> dict[str, Any]:
        """Architectures that this TensorRT can build for without having the GPU, by name such as ``sm89``."""
        values = getattr(self.trt, "ComputeCapability", None)
        if values is None:
            return {}
        return {name.lower(): value for name, value in values.__members__.items() if name.startswith("SM")}

    def architecture(self, capability: str | None, gpu: Gpu | NoGpuError) -> str:
        """The architecture that an engine will be for.

        Args:
            capability: asked for, such as ``sm89``; None: the GPU that is here.
            gpu: the GPU that is here, or why there is none.

        Raises:
            NoGpuError: none given and no GPU here.
            ConfigError: this TensorRT cannot build for it.
        """
        known = self.compute_capabilities()
        here = gpu.architecture if isinstance(gpu, Gpu) else None
        if capability is None and here is None:
            raise NoGpuError(
                f"no GPU here: {gpu}. {self.name} cannot tell what to build for; name an architecture with "
                f"--capability ({', '.join(known) or 'which needs --backend ' + TENSORRT_RTX})"
            )
        if capability not in (None, here, *known):
            expected = ", ".join(known) or f"the GPU that is here ({here or gpu})"
            raise ConfigError(f"capability '{capability}': {self.name} {self.version} builds for {expected}")
        return capability or here or ""

    def aim(self, config: Any, architecture: str) -> None:
        """Let a builder's configuration build for an architecture, where it does not go by the GPU that is here."""
        known = self.compute_capabilities()
        if architecture in known:
            config.num_compute_capabilities = 1
            config.set_compute_capability(known[architecture], 0)

    def creator(self) -> Any:
        """TensorRT's creator of our plugin; None before a library with it is loaded."""
        before = len(self.messages)
        creator = self.trt.get_plugin_registry().get_creator(OP_TYPE, PLUGIN_VERSION, PLUGIN_NAMESPACE)
        # Not finding it is an answer here, no error.
        del self.messages[before:]
        return creator


def load_backend(name: str) -> Backend:
    """Import a TensorRT.

    Args:
        name: one of ``BACKENDS``.

    Raises:
        ConfigError: another name.
        ModelError: it is not installed, or does not load.
    """
    if name not in BACKENDS:
        raise ConfigError(f"back end '{name}': expected one of {', '.join(BACKENDS)}")
    if name == TENSORRT_RTX and not _LINKS and (libraries := _libraries_without_links()):
        if name in sys.modules:
            raise ModelError(
                f"{name} was imported before m2a, and the ONNX parser of its wheel would end this process: import it "
                "after m2a has loaded it, or in another process"
            )
        _link_unversioned_library(libraries)
    try:
        trt = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise ModelError(f"{name} is installed but cannot be imported ({error})") from error
        raise ModelError(f"{name} is not installed: {_INSTALL[name]}") from error
    except ImportError as error:
        raise ModelError(f"{name} is installed but cannot be imported ({error})") from error
    return Backend(name, trt)


def _libraries_without_links() -> list[Path]:
    """TensorRT for RTX's libraries, where the wheel lacks the name by which its ONNX parser looks one up."""
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    if spec is None or spec.origin is None:
        return []
    libraries = sorted(Path(spec.origin).parent.glob("libtensorrt*.so*"))
    return [] if any(path.name == "libtensorrt_rtx.so" for path in libraries) else libraries


def _link_unversioned_library(libraries: list[Path]) -> None:
    """Let the ONNX parser of the tensorrt_rtx wheel find the library by the name that it looks up with a plugin.

    The wheel has libtensorrt_rtx.so.1 alone, the parser opens libtensorrt_rtx.so beside itself and, not finding it,
    ends the process. Loaded through links in a directory of our own, it finds the name there; nothing installed is
    touched.
    """
    links = tempfile.TemporaryDirectory(prefix="m2a-tensorrt-rtx-")
    _LINKS.append(links)
    for library in libraries:
        for name in (library.name, library.name.split(".so")[0] + ".so"):
            link = Path(links.name, name)
            if not link.exists():
                link.symlink_to(library)
    # The core library first: the parser needs it.
    for library in sorted(libraries, key=lambda path: "onnxparser" in path.name):
        ctypes.CDLL(str(Path(links.name, library.name)))


@cache
def _logger_of(trt: Any) -> tuple[Any, list[str]]:
    """A logger that keeps errors for messages of our own, and these; warnings go to Python's logging."""
    messages: list[str] = []
    errors = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in errors:
                # The last ones: a run that fails on every frame must not fill the memory.
                del messages[: -_KEPT_MESSAGES + 1]
                messages.append(msg)
                _LOG.debug("%s", msg)
            elif severity == trt.ILogger.Severity.WARNING:
                _LOG.info("%s", msg)

    return Logger(), messages
