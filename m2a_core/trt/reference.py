"""Frames and what ONNX Runtime says of them, kept beside an engine to compare its first load on a device with."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m2a_core.contract.io_spec import CAMERA_OUTPUTS, OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ModelError
from m2a_core.files import replaced

_KEPT = tuple(spec.name for spec in OUTPUTS)
_OF_CAMERA = tuple(spec.name for spec in CAMERA_OUTPUTS)
"""Where the graph takes a camera's own image."""


def save_reference(path: Path, images: Sequence[np.ndarray], outputs: Sequence[NetworkOutput]) -> None:
    """Write frames and results.

    Args:
        path: the file, .npz.
        images: uint8 [H, W, 3] each, at the network's input size.
        outputs: of the reference, one per image.

    Raises:
        ModelError: it cannot be written.
    """
    names = _KEPT + tuple(name for name in _OF_CAMERA if getattr(outputs[0], name) is not None)
    arrays = {name: np.stack([getattr(output, name) for output in outputs]) for name in names}
    try:
        with replaced(path, alone=False) as staged:
            np.savez_compressed(staged, images=np.stack(images), **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise ModelError(f"{path}: cannot write the reference frames ({error})") from error


def load_reference(path: Path, sha256: str) -> tuple[np.ndarray, list[NetworkOutput]]:
    """Read what ``save_reference`` wrote.

    Args:
        path: the file.
        sha256: that it must have: what is compared with is what the manifest names, also where the file was replaced.

    Returns:
        Images uint8 [F, H, W, 3], and the results of each.

    Raises:
        ModelError: the file is missing, damaged or another one.
    """
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(f"{path}: not the reference frames of this engine; load it again, or build it again")
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            images = data["images"]
            arrays = {name: data[name] for name in _KEPT + tuple(name for name in _OF_CAMERA if name in data)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: cannot read the engine's reference frames ({error})") from error
    return images, [NetworkOutput(**{name: arrays[name][i] for name in arrays}) for i in range(len(images))]
