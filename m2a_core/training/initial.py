"""Initial weights from another network."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from m2a_core.errors import CheckpointError


def load_related_weights(model: nn.Module, path: Path) -> list[str]:
    """Start from another network's weights wherever name and shape agree.

    Args:
        model: the network, changed in place.
        path: safetensors file.

    Returns:
        The parameters and buffers that keep the values they had.

    Raises:
        CheckpointError: the file is missing, is no safetensors file, or has nothing in common with the network.
    """
    try:
        related = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"initial weights {path}: cannot be read ({error})") from error
    own = model.state_dict()
    fitting = {name: x for name, x in related.items() if name in own and own[name].shape == x.shape}
    if not fitting:
        raise CheckpointError(f"initial weights {path}: no tensor has a name and shape of the network's")
    model.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())
