"""Initial weights from another network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import CheckpointError, ModelError

_CLASS_HEAD = "transformer_decoder.class_head."


def find_weights(name_or_path: str, beside: Path) -> Path:
    """The file that ``initial_weights`` means: one beside the configuration, or that of a bundle of this name.

    Raises:
        CheckpointError: there is neither.
    """
    path = beside / name_or_path
    if path.is_file() or path.suffix:
        return path
    try:
        bundle = load_bundle(name_or_path)
    except ModelError as error:
        raise CheckpointError(f"initial weights '{name_or_path}': no file {path}, and no bundle ({error})") from error
    return bundle.onnx_path.with_suffix(".safetensors")


def load_related_weights(model: nn.Module, path: Path) -> list[str]:
    """Start from another network's weights wherever name and shape agree.

    Args:
        model: the network, changed in place.
        path: safetensors file.

    Returns:
        The parameters and buffers that keep the values they had.

    Raises:
        CheckpointError: the file is missing, is not a safetensors file, or has nothing in common with the network.
    """
    return _load_fitting(model, _read(path), path)


def load_by_class(model: nn.Module, path: Path, classes: Sequence[Sequence[str]]) -> list[str]:
    """The same for a network of other classes: those that both know by name keep their row of the class head.

    A class that several classes of the other network are named for starts from the mean of their rows; the row of "no
    object" is kept.

    Args:
        model: the network, changed in place.
        path: safetensors file whose metadata hold the network's configuration, as ``m2a train`` writes it.
        classes: per class of the network, its names in the other one, in any case.

    Returns:
        The first names of the classes that started from the other network's.

    Raises:
        CheckpointError: as `load_related_weights`.
    """
    related = _read(path)
    known = {name.casefold(): row for row, name in enumerate(_class_names(path))}
    rows = [[known[name.casefold()] for name in names if name.casefold() in known] for names in classes]
    own = model.state_dict()
    for name in [name for name in related if name.startswith(_CLASS_HEAD)]:
        old = related.pop(name)
        if name not in own or len(old) != len(known) + 1 or own[name].shape[1:] != old.shape[1:]:
            continue
        head = own[name].clone()
        for row, olds in enumerate(rows):
            if olds:
                head[row] = old[olds].mean(0)
        head[-1] = old[-1]
        related[name] = head
    _load_fitting(model, related, path)
    return [names[0] for names, olds in zip(classes, rows, strict=True) if olds]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"initial weights {path}: cannot be read ({error})") from error


def _class_names(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    try:
        return [str(name) for name in json.loads(metadata["config"])["labels"]["names"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def _load_fitting(model: nn.Module, related: dict[str, Tensor], path: Path) -> list[str]:
    own = model.state_dict()
    fitting = {name: x for name, x in related.items() if name in own and own[name].shape == x.shape}
    if not fitting:
        raise CheckpointError(f"initial weights {path}: no tensor has a name and shape of the network's")
    model.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())
