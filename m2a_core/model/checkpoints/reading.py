"""Reading checkpoint files without ever running code from them."""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from m2a_core.errors import CheckpointError, quoted
from m2a_core.files import read_regular
from m2a_core.model.checkpoints.array_pickle import STAND_INS, PickledArray, read_arrays

STATE_NAMES = ("model", "state_dict", "model_state_dict", "model_state", "module")
"""Names under which trainers keep a model's state dict; the first that is there counts."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrappers put before every name: DataParallel, torch.compile, Lightning modules."""
_DAMAGED = (
    OSError,
    SafetensorError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    KeyError,
    IndexError,
    # Of PyTorch's readers of files from before its zip format.
    struct.error,
    AssertionError,
    OverflowError,
)
_DEPTH = 5
_MAX_BYTES = 1 << 36


def resolve(path: Path) -> Path:
    """The weight file that a path means: itself, or the single one of a Hugging Face directory.

    Raises:
        CheckpointError: no such file, or the directory has none or several parts.
    """
    if path.is_dir():
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (path / name).is_file():
                return path / name
        raise CheckpointError(
            f"{path}: expected model.safetensors or pytorch_model.bin in the directory, got "
            f"{', '.join(sorted(p.name for p in path.iterdir())[:6]) or 'nothing'}; save split checkpoints as one file"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a .pth, .pkl, .bin or .safetensors checkpoint")
    return path


def read_state_dict(path: Path, prefixes: bool = False) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint.

    Args:
        path: safetensors, a PyTorch file (read with ``weights_only``) or detectron2's pickle of NumPy arrays. The
            tensors may lie under ``model``, ``state_dict`` and the like, in dictionaries within dictionaries, and
            may all have a prefix of `PREFIXES`, which is left out.
        prefixes: leave such prefixes in.

    Returns:
        name -> tensor, on the CPU.

    Raises:
        CheckpointError: truncated, not a checkpoint, or holding more than tensors where tensors should be.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("no regular file")
        with path.open("rb") as file:
            head = file.read(16)
        if path.suffix == ".safetensors":
            return _renamed(load_file(path), prefixes)
        content = _read_pickle(path) if head[:1] == b"\x80" and not _is_legacy_torch(path) else _read_torch(path)
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path}: truncated or not a checkpoint ({_first_line(error)}); fetch it again"
        ) from error
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, UnicodeDecodeError, ImportError) as error:
        raise CheckpointError(
            f"{path}: expected tensors alone, refused what else it holds ({_first_line(error)}); if you trust it, save "
            "its state dict alone with torch.save"
        ) from error
    return _renamed(_tensors_of(content, path), prefixes)


def _read_torch(path: Path) -> Any:
    _require_stored(path)
    # Numbers that trainers keep beside the weights, such as learning rates.
    with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _require_stored(path: Path) -> None:
    """PyTorch stores without compressing: what says that it is larger than the file is made to fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        if declared > path.stat().st_size:
            raise pickle.UnpicklingError(f"{declared} bytes packed into {path.stat().st_size}")


def _is_legacy_torch(path: Path) -> bool:
    """True for PyTorch files older than the zip format: their first pickle is a magic number."""
    with path.open("rb") as file:
        return b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." in file.read(32)


def _read_pickle(path: Path) -> Any:
    return read_arrays(read_regular(path, _MAX_BYTES))


def _innermost(content: Any, path: Path) -> Any:
    """The state dict of a checkpoint: under a name of `STATE_NAMES`, else the only one there is."""
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            return content
        named = next((key for key in STATE_NAMES if isinstance(content.get(key), Mapping)), None)
        if named is None:
            if any(isinstance(value, torch.Tensor | PickledArray) for value in content.values()):
                return content
            inside = [key for key, value in content.items() if isinstance(value, Mapping) and _holds_tensors(value)]
            if len(inside) > 1:
                raise CheckpointError(
                    f"{path}: holds several state dicts ({', '.join(map(str, inside))}); save the one to read with "
                    "torch.save, or name it 'model'"
                )
            if not inside:
                return content
            named = inside[0]
        content = content[named]
    return content


def _holds_tensors(content: Mapping[Any, Any], depth: int = 0) -> bool:
    """Whether there are tensors by name in it, at any depth; an optimizer's state, by number, is none."""
    return depth < _DEPTH and any(
        isinstance(key, str)
        and (
            isinstance(value, torch.Tensor | PickledArray)
            or (isinstance(value, Mapping) and _holds_tensors(value, depth + 1))
        )
        for key, value in content.items()
    )


def _renamed(tensors: dict[str, torch.Tensor], prefixes: bool) -> dict[str, torch.Tensor]:
    while not prefixes and (
        prefix := next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None)
    ):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _tensors_of(content: Any, path: Path) -> dict[str, torch.Tensor]:
    content = _innermost(content, path)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: expected a state dict, got {type(content).__name__}")
    tensors: dict[str, torch.Tensor] = {}
    copies: dict[int, torch.Tensor] = {}
    limit = path.stat().st_size
    for name, value in content.items():
        if isinstance(value, PickledArray) and value.array is not None and value.array.dtype.kind in "fiu":
            if id(value) not in copies:
                limit -= value.array.nbytes
                _require_own_bytes(limit >= 0, path, name)
                copies[id(value)] = torch.from_numpy(value.array.astype(value.array.dtype.newbyteorder("=")))
            value = copies[id(value)]
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            shown = quoted(name) if isinstance(name, str) else f"a {type(name).__name__}"
            raise CheckpointError(f"{path}: expected tensors by name, got {type(value).__name__} under {shown}")
        if value.layout == torch.strided:
            _require_own_bytes(value.nbytes <= value.untyped_storage().nbytes(), path, name)
        tensors[name] = value
    return tensors


def _require_own_bytes(is_so: bool, path: Path, name: object) -> None:
    if not is_so:
        raise CheckpointError(
            f"{path}: {quoted(str(name))} is larger than what the file holds for it; save the tensors contiguous"
        )


def _first_line(error: BaseException) -> str:
    # PyTorch's own first line advises to load the file with code and all.
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it asks for {asked[1]}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def read_metadata(path: Path) -> dict[str, str]:
    """The text metadata of a safetensors file.

    Raises:
        CheckpointError: not a safetensors file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(path.stat().st_size, 100_000_000):
                raise CheckpointError(f"{path}: truncated, or not a safetensors file; fetch it again")
            metadata = json.loads(file.read(length)).get("__metadata__", {})
            return {str(k): str(v) for k, v in metadata.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({_first_line(error)})") from error
