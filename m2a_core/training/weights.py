"""Saving of trained weights as safetensors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from m2a_core.bundle.loading import hash_file, sha256_of
from m2a_core.errors import CheckpointError
from m2a_core.files import replaced
from m2a_core.model.checkpoints.tensor_file import write_tensors
from m2a_core.model.config import ModelConfig


def config_json(config: ModelConfig) -> str:
    """A network's configuration as JSON; sets become sorted lists."""
    return json.dumps(
        dataclasses.asdict(config), sort_keys=True, default=lambda v: sorted(v) if isinstance(v, frozenset) else str(v)
    )


def save_weights(state: dict[str, Tensor], config: ModelConfig, path: Path, notes: dict[str, str]) -> str:
    """Write weights with the network's configuration in the metadata.

    Args:
        state: state dict of the network.
        config: its configuration.
        path: the file.
        notes: more metadata, e.g. the name of the run and the step.

    Returns:
        SHA-256 of the file, which also lands in ``PATH.sha256``.

    Raises:
        CheckpointError: it cannot be written.
    """
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    try:
        with replaced(path) as partial:
            write_tensors(tensors, partial, {"format": "pt", "config": config_json(config), **notes})
            digest = sha256_of(partial)
        hash_file(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights {path}: cannot be written ({error}); free some space and try again") from error
    return digest
