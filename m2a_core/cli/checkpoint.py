"""Networks from files of any origin, for the commands that take ``--checkpoint``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from m2a_core.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from m2a_core.model.config import AttentionKind
    from m2a_core.model.mask2anomaly import Mask2Anomaly
    from m2a_core.reference.perception import CheckpointPerception


def open_checkpoint(path: Path, name: str, attention: AttentionKind | None) -> tuple[Mask2Anomaly, str]:
    """Make a network and fill it.

    Args:
        path: weights of ``m2a train`` or ``m2a convert``, or a foreign checkpoint of any kind.
        name: name of the network in the zoo.
        attention: another kind of attention than the model's own, for foreign checkpoints; or None.

    Returns:
        The network in evaluation mode, and the origin of the weights: ``official``, ``mask2former``, ``hf`` or ``m2a``.

    Raises:
        ConfigError: no such model.
        CheckpointError: the file is damaged, does not fit, or lacks part of the network.
    """
    from m2a_core.export.weights import load_trained
    from m2a_core.model import build_model
    from m2a_core.model.checkpoints.convert import load_foreign
    from m2a_core.model.checkpoints.reading import read_metadata
    from m2a_core.model.checkpoints.store import read_manifest
    from m2a_core.model.zoo import named_config

    config = named_config(name, attention)
    if path.suffix == ".safetensors" and path.is_file():
        metadata = read_metadata(path)
        if "m2a" in metadata or "config" in metadata:
            model, _ = load_trained(path, name)
            if attention not in (None, model.config.attention):
                raise ConfigError(f"{path}: written with attention '{model.config.attention}', not '{attention}'")
            return model, str(read_manifest(path).get("kind", "m2a")) if "m2a" in metadata else "m2a"
    model = build_model(config)
    loaded = load_foreign(model, path)
    if loaded.initialised:
        raise CheckpointError(
            f"{path}: a masked-attention checkpoint has no background attention for '{name}'; add --attention masked, "
            "or make an initialisation of it with m2a convert"
        )
    return model.eval(), loaded.kind


def load_perception(args: argparse.Namespace) -> CheckpointPerception:
    """What ``m2a predict --checkpoint`` runs."""
    from m2a_core.bundle.decision import Decision
    from m2a_core.cli.export import parse_size
    from m2a_core.reference.network import TorchNetwork
    from m2a_core.reference.perception import CheckpointPerception, FrameSize, refinement_of

    if args.threads is not None and args.threads < 1:
        raise ConfigError(f"threads: expected at least 1, got {args.threads}")
    model, origin = open_checkpoint(args.checkpoint, args.model, args.attention)
    refine = refinement_of(args.refine, model.config.labels, official_checkpoint=origin == "official")
    size: FrameSize = "official" if args.size == "official" else "native"
    if args.size not in (None, "native", "official"):
        size = parse_size(args.size)
    decision = Decision(args.decision or Decision.ANOMALY)
    perception = CheckpointPerception(TorchNetwork(model, args.threads), size, args.flip, refine, decision)
    flip = "on" if args.flip else "off"
    print(
        f"{args.checkpoint}: {origin} weights, size {args.size or 'native'}, flip {flip}, refine {refine}, "
        f"decision {decision.value}"
    )
    return perception
