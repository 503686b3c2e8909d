"""Filling a model from a foreign checkpoint, and saying exactly what was filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from m2a_core.bundle.loading import sha256_of
from m2a_core.errors import CheckpointError
from m2a_core.model.checkpoints.backbone_init import backbone_names
from m2a_core.model.checkpoints.huggingface import HUGGINGFACE, names_on_disk
from m2a_core.model.checkpoints.names import Mapped, map_names
from m2a_core.model.checkpoints.official import MASK2FORMER, OFFICIAL, modernise
from m2a_core.model.checkpoints.reading import read_state_dict, resolve
from m2a_core.model.mask2anomaly import Mask2Anomaly

SourceKind = Literal["official", "mask2former", "hf", "backbone"]


@dataclass(frozen=True)
class Loaded:
    """What happened to every tensor.

    Attributes:
        source: the file that was read.
        kind: what it was read as.
        sha256: of that file.
        filled: number of our tensors that it filled.
        initialised: names of ours that such files do not have: they keep the model's initialisation.
        unused: their names that have no counterpart in the model and change nothing.
    """

    source: Path
    kind: SourceKind
    sha256: str
    filled: int
    initialised: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """Two or three lines for people."""
        lines = [f"{self.source}: {self.filled} tensors loaded, {len(self.unused)} unused here and skipped"]
        if self.initialised:
            lines.append(f"initialised ({len(self.initialised)} tensors): {', '.join(_parents(self.initialised))}")
        return "\n".join(lines)


def recognise(state: Mapping[str, torch.Tensor], path: Path) -> SourceKind:
    """Tell whose names a whole network's state dict bears.

    Raises:
        CheckpointError: of no known source.
    """
    if any(name.startswith("model.pixel_level_module.") for name in state):
        return "hf"
    if any("multihead_attn_foreground" in name for name in state):
        return "official"
    if any(name.startswith("sem_seg_head.") for name in state):
        return "mask2former"
    raise CheckpointError(
        f"{path}: expected an official Mask2Anomaly, a Mask2Former or a Hugging Face Mask2Former checkpoint, got "
        f"{len(state)} tensors such as {', '.join(list(state)[:3])}"
    )


def load_foreign(model: Mask2Anomaly, path: Path, kind: SourceKind | None = None) -> Loaded:
    """Fill a model from a foreign checkpoint.

    Args:
        model: the model to fill. A masked-attention checkpoint leaves the background attention of a global masked
            model as it was initialised; a backbone file leaves both decoders so.
        path: file, or directory of a Hugging Face model.
        kind: ``official`` (Mask2Anomaly), ``mask2former``, ``hf`` or ``backbone``; None: see ``recognise``.

    Returns:
        What was filled, left and unused.

    Raises:
        CheckpointError: the file is damaged or does not fit the model; the model is left as it was.
    """
    file = resolve(path)
    state = read_state_dict(file, prefixes=kind == "backbone")
    kind = kind or recognise(state, file)
    expected = model.state_dict()
    match kind:
        case "official":
            mapped = map_names(modernise(state), expected, OFFICIAL, str(file))
        case "mask2former":
            mapped = map_names(modernise(state), expected, MASK2FORMER, str(file))
        case "hf":
            mapped = map_names(names_on_disk(state), expected, HUGGINGFACE, str(file))
        case "backbone":
            tensors, names = backbone_names(state, str(file))
            mapped = map_names(tensors, expected, names, str(file))
    _check_absent(mapped, kind, model, file)
    model.load_state_dict(mapped.tensors, strict=False)
    return Loaded(file, kind, sha256_of(file), len(mapped.tensors), mapped.absent, mapped.unused)


def _check_absent(mapped: Mapped, kind: SourceKind, model: Mask2Anomaly, file: Path) -> None:
    """Refuse a model that has more than such files can fill."""
    match kind:
        case "official":
            allowed: tuple[str, ...] = ()
        case "mask2former" | "hf":
            allowed = ("mask_attention.background.",)
        case "backbone":
            allowed = ("pixel_decoder.", "transformer_decoder.", "backbone.output_norms.")
    surprising = [name for name in mapped.absent if not any(part in name for part in allowed)]
    if surprising:
        raise CheckpointError(
            f"{file}: files of kind '{kind}' do not have {len(surprising)} tensors of model '{model.config.name}', "
            f"such as {', '.join(surprising[:3])}; choose a ResNet or Swin model with full FPN convolutions"
        )


def _parents(names: Sequence[str]) -> list[str]:
    """Names of modules, with layer numbers joined: a.0.b.weight, a.1.b.weight -> a.*.b."""
    return list(
        dict.fromkeys(
            ".".join("*" if part.isdigit() else part for part in name.split(".")[:-2]) or name for name in names
        )
    )
