"""What is written beside an engine: what it was made of, for what, and what is known of its results.

JSON <-> frozen dataclasses, strict both ways, like the bundle's manifest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from m2a_core.bundle.digest import KEY, require_sealed, sealed
from m2a_core.bundle.loading import sha256_of
from m2a_core.errors import ModelError, shown
from m2a_core.files import json_text, read_regular, replaced
from m2a_core.metrics.parity import Parity

FORMAT_VERSION = 2
_MAX_BYTES = 1 << 24
NOT_VERIFIED = "not verified on device"
VERIFIED = "verified on device"
MEMORY_TOLERANCE = 0.15
"""How far the memory that CUDA reports may differ on one kind of GPU: drivers and ECC take from it."""


@dataclass(frozen=True)
class EngineKey:
    """All that decides whether an engine is the one that is wanted.

    Attributes:
        onnx_sha256: of the graph as exported.
        plugin_identity: of the plugin library, see `plugin_build.identity_of`.
        backend: ``tensorrt`` or ``tensorrt_rtx``.
        version: of TensorRT.
        architecture: of the GPU, such as ``sm87``.
        gpu: name of the GPU that TensorRT chose the kernels on; empty where it chose them on none.
        gpu_memory: of that GPU, in MiB: an AGX Orin and an Orin Nano have one name.
        precision: ``fp32``, ``fp16`` or ``int8``.
        input_size: H, W of the images, in pixels.
        batches: batch sizes that it is tuned for, ascending; the last is the largest that it takes.
    """

    onnx_sha256: str
    plugin_identity: str
    backend: str
    version: str
    architecture: str
    gpu: str
    gpu_memory: int
    precision: str
    input_size: tuple[int, int]
    batches: tuple[int, ...]

    def differences(self, wanted: EngineKey) -> list[str]:
        """What is not as wanted, in words; empty where the engine is the one."""
        found = [
            f"{f.name} is {_short(getattr(self, f.name))}, wanted {_short(getattr(wanted, f.name))}"
            for f in fields(self)
            if f.name not in ("gpu", "gpu_memory") and getattr(self, f.name) != getattr(wanted, f.name)
        ]
        if not self.chosen_on(wanted.gpu, wanted.gpu_memory):
            here, there = (gpu_text(key.gpu, key.gpu_memory) for key in (self, wanted))
            found.append(f"gpu is {here}, wanted {there}")
        return found

    def chosen_on(self, gpu: str, memory: int) -> bool:
        """Whether the kernels were chosen on a GPU of this name and memory in MiB, or one that may pass for it."""
        limit = MEMORY_TOLERANCE * max(self.gpu_memory, memory)
        return self.gpu == gpu and abs(self.gpu_memory - memory) <= limit


@dataclass(frozen=True)
class EngineManifest:
    """Description of an engine.

    Attributes:
        key: what it is.
        engine_sha256: of the engine's file.
        reference_sha256: of the file of frames and expected results that the first load verifies with.
        plugin_layers: layers that the plugin replaced.
        parity: of the graph that the engine was built from (equal by definition, where that is the exported one), or,
            once verified on a device, of the engine; against the exported graph in ONNX Runtime.
        verification: ``VERIFIED`` or ``NOT_VERIFIED``.
        build_seconds: how long the build took.
        verified_batches: batch sizes that were compared on a device.
        device_memory: bytes of the GPU that the batch sizes share as scratch; None before a device has loaded it.
    """

    key: EngineKey
    engine_sha256: str
    reference_sha256: str
    plugin_layers: tuple[str, ...]
    parity: Parity
    verification: str
    build_seconds: float
    verified_batches: tuple[int, ...] = ()
    device_memory: int | None = None

    @property
    def verified(self) -> bool:
        """Whether the engine itself, not its graph alone, was compared with its reference, in every batch size."""
        return self.verification == VERIFIED and self.verified_batches == self.key.batches

    def to_json(self) -> str:
        """The manifest as JSON text, with its digest."""
        return json_text(sealed({"format_version": FORMAT_VERSION, **asdict(self)}), indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write atomically: a crash leaves the old manifest or the new one.

        Raises:
            ModelError: it cannot be written.
        """
        try:
            with replaced(path, alone=False) as staged:
                staged.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise ModelError(f"{path}: cannot write the engine's manifest ({error})") from error

    @classmethod
    def load(cls, path: Path) -> EngineManifest:
        """Read a manifest.

        Raises:
            ModelError: missing, not JSON, of another format version, a key missing, unknown or of a wrong kind.
        """
        try:
            data = json.loads(read_regular(path, _MAX_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: cannot read the engine's manifest ({error}); {_REBUILD}") from error
        version = data.get("format_version") if isinstance(data, dict) else None
        if version != FORMAT_VERSION:
            raise ModelError(f"{path}: format_version is {shown(version)}, this m2a reads {FORMAT_VERSION}; {_REBUILD}")
        stated = dict(data)
        try:
            del data["format_version"]
            data.pop(KEY, None)
            key = data.pop("key")
            _integers([key["gpu_memory"]])
            key |= {"input_size": _integers(key["input_size"], 2), "batches": _integers(key["batches"])}
            parity = Parity(**{name: _number(value) for name, value in data.pop("parity").items()})
            layers = tuple(str(name) for name in data.pop("plugin_layers"))
            verified = _integers(data.pop("verified_batches"))
            if data["device_memory"] is not None:
                _number(data["device_memory"])
            manifest = cls(key=EngineKey(**key), parity=parity, plugin_layers=layers, verified_batches=verified, **data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path}: keys do not fit ({error}); {_REBUILD}") from error
        texts = [f for f in (*asdict(manifest.key).items(), *vars(manifest).items()) if f[0] not in _NO_TEXT]
        wrong = [name for name, value in texts if not isinstance(value, str)]
        if wrong or manifest.verification not in (VERIFIED, NOT_VERIFIED):
            raise ModelError(f"{path}: {wrong or 'verification'} is not what an engine's manifest holds; {_REBUILD}")
        require_sealed(stated, str(path), _REBUILD)
        return manifest


_NO_TEXT = {
    "input_size",
    "gpu_memory",
    "batches",
    "key",
    "parity",
    "plugin_layers",
    "build_seconds",
    "verified_batches",
    "device_memory",
}
_REBUILD = "build the engine again with `m2a build-engine --rebuild`"


def gpu_text(name: str, memory: int) -> str:
    """A GPU for messages; memory in MiB."""
    return f"{name} with {memory / 1024:.1f} GiB" if name else "none"


def manifest_path(engine: Path) -> Path:
    """Where an engine's manifest lies."""
    return engine.with_name(engine.name + ".json")


def reference_path(engine: Path) -> Path:
    """Where an engine's frames and expected results lie."""
    return engine.with_name(engine.name + ".reference.npz")


def load_checked(engine: Path) -> EngineManifest:
    """Read an engine's manifest and verify the files' SHA-256, before anything of the engine is looked at.

    Raises:
        ModelError: a file is missing, cut short or another one than the manifest describes.
    """
    if not engine.is_file():
        raise ModelError(f"{engine}: no such engine; build it on this machine with `m2a build-engine`")
    manifest = EngineManifest.load(manifest_path(engine))
    expected = {engine: manifest.engine_sha256, reference_path(engine): manifest.reference_sha256}
    for path, digest in expected.items():
        if not path.is_file():
            raise ModelError(f"{path}: the engine's manifest needs this file but there is none; {_REBUILD}")
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); {_REBUILD}") from error
        if found != digest:
            raise ModelError(
                f"{path}: SHA-256 is {found}, the manifest says {digest}; the file is cut short, damaged or another "
                f"one: {_REBUILD}"
            )
    return manifest


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def _integers(values: Any, count: int | None = None) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(v) is not int for v in values) or len(values) != (count or len(values)):
        raise TypeError(f"expected whole numbers, got {shown(values)}")
    return tuple(values)


def _number(value: Any) -> Any:
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, got {shown(value)}")
    return value
