"""Saving of trained weights as safetensors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from m2a_core.bundle.loading import hash_file
from m2a_core.errors import CheckpointError
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
    partial = path.with_suffix(".partial")
    tensors = {k: v.detach().contiguous().clone() for k, v in state.items()}
    try:
        content = _ordered(save(tensors, metadata={"format": "pt", "config": config_json(config), **notes}))
        partial.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        partial.chmod(0o644)
        partial.replace(path)
        hash_file(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"weights {path}: cannot be written ({error}); free some space and try again") from error
    return digest


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its header in order: the library writes metadata in an order that changes by the run."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
