"""m2a's own weight files: safetensors with a manifest in the metadata.

The metadata has one entry, ``m2a``: JSON with ``format`` (1), ``model`` (name in the zoo), ``attention``,
``num_classes``, ``weights_sha256`` (of all tensors in the order of their names) and what the writer adds, such as the
source file and its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch

from m2a_core.errors import CheckpointError, shown
from m2a_core.files import replaced
from m2a_core.model.checkpoints.names import NameMap, Rule, map_names
from m2a_core.model.checkpoints.reading import read_metadata, read_state_dict
from m2a_core.model.checkpoints.tensor_file import write_tensors
from m2a_core.model.config import AttentionKind
from m2a_core.model.mask2anomaly import Mask2Anomaly

FORMAT = 1
_OWN = NameMap("an m2a checkpoint of this model", (Rule(r"(.+)", r"\1"),))


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values of tensors, independent of the file format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(model: Mask2Anomaly, path: Path, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write a model's weights, whole or not at all.

    Args:
        model: the model.
        path: the file to write, ``*.safetensors``; an existing one is replaced.
        extra: entries to add to the manifest, JSON-serialisable.

    Returns:
        The manifest.

    Raises:
        CheckpointError: the file cannot be written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    manifest = {
        "format": FORMAT,
        "model": model.config.name,
        "attention": model.config.attention,
        "num_classes": model.config.labels.num_classes,
        "weights_sha256": weights_sha256(state),
        **(extra or {}),
    }
    try:
        with replaced(path, alone=False) as temporary:
            write_tensors(state, temporary, {"m2a": json.dumps(manifest)})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write ({error.strerror or error})") from error
    return manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of an m2a weight file.

    Raises:
        CheckpointError: not one, or written by a newer m2a.
    """
    text = read_metadata(path).get("m2a")
    try:
        manifest = json.loads(text) if text else None
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path}: expected weights written by m2a; convert foreign ones with m2a convert")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected format {FORMAT}, got {shown(manifest.get('format'))}; update m2a")
    if manifest.get("attention") not in get_args(AttentionKind):
        raise CheckpointError(
            f"{path}: expected attention {' or '.join(get_args(AttentionKind))}, got {shown(manifest.get('attention'))}"
        )
    return manifest


def load_weights(model: Mask2Anomaly, path: Path) -> dict[str, Any]:
    """Fill a model from an m2a weight file.

    Args:
        model: the model to fill, of the configuration that the file names.
        path: the file.

    Returns:
        The file's manifest.

    Raises:
        CheckpointError: truncated, of another model, or altered since it was written.
    """
    manifest = read_manifest(path)
    want = {
        "model": model.config.name,
        "attention": model.config.attention,
        "num_classes": model.config.labels.num_classes,
    }
    got = {key: manifest.get(key) for key in want}
    if got != want:
        raise CheckpointError(f"{path}: expected weights of {want}, got {got}")
    state = read_state_dict(path)
    if weights_sha256(state) != manifest.get("weights_sha256"):
        raise CheckpointError(f"{path}: the weights differ from the hash in the file's manifest; fetch it again")
    model.load_state_dict(map_names(state, model.state_dict(), _OWN, str(path)).tensors)
    return manifest
