"""Loading trained weights into the network they were trained for, or saying why they do not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

from m2a_core.bundle.loading import hash_file, sha256_of
from m2a_core.errors import MALFORMED, CheckpointError, ConfigError, shown
from m2a_core.labels.label_set import LabelSet
from m2a_core.model import ModelConfig, build_model
from m2a_core.model.backbones.timm_features import PREFIX
from m2a_core.model.checkpoints.names import NameMap, Rule, map_names
from m2a_core.model.checkpoints.reading import read_metadata, read_state_dict
from m2a_core.model.checkpoints.store import load_weights, read_manifest
from m2a_core.model.config import AttentionKind
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.model.zoo import named_config

_TRAINED = NameMap("weights trained for this model", (Rule(r"(.+)", r"\1"),))


def load_trained(path: Path, model: str) -> tuple[Mask2Anomaly, dict[str, str]]:
    """Make a network and fill it with weights.

    Args:
        path: safetensors file as ``m2a train`` or ``m2a convert`` writes it.
        model: name in the zoo.

    Returns:
        The network in evaluation mode, and the file's metadata.

    Raises:
        ConfigError: no such model.
        CheckpointError: the file is missing, damaged or another than PATH.sha256 says, was written for another network,
            a tensor is missing, unknown, of another shape or not finite.
    """
    config = named_config(model)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the safetensors file of `m2a train` or `m2a convert`")
    metadata = read_metadata(path)
    if "m2a" in metadata:
        network = build_model(named_config(model, read_manifest(path)["attention"]))
        load_weights(network, path)
    else:
        _check_hash(path)
        found = _stated_config(path, metadata)
        if found.get("attention") in get_args(AttentionKind):
            config = named_config(model, found["attention"])
        if str(found.get("backbone", "")).startswith(PREFIX):
            config = dataclasses.replace(config, backbone=found["backbone"])
        # One network serves several label sets: the file says which classes its head knows.
        config = dataclasses.replace(config, labels=_stated_labels(path, found, config.labels))
        network = build_model(config)
        _check_config(path, found, config)
        network.load_state_dict(map_names(read_state_dict(path), network.state_dict(), _TRAINED, str(path)).tensors)
    return network.eval(), metadata


def _check_hash(path: Path) -> None:
    """Compare with the SHA-256 that `m2a train` and `m2a export` leave beside it; weights made by hand have none."""
    beside = hash_file(path)
    if not beside.is_file():
        return
    stated, found = beside.read_text(encoding="utf-8").split(maxsplit=1)[:1], sha256_of(path)
    if stated != [found]:
        raise CheckpointError(
            f"{path}: SHA-256 is {found}, {beside.name} says {''.join(stated) or 'nothing'}; the file is damaged or "
            "not the one that was written: restore it, or remove the other if you made these weights yourself"
        )


def _stated_config(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The configuration in the metadata."""
    try:
        found = json.loads(metadata.get("config", ""))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: no configuration in the metadata; expected weights written by `m2a train`")
    return found


def _stated_labels(path: Path, found: dict[str, Any], own: LabelSet) -> LabelSet:
    """The label set in a configuration; the model's own where it states none."""
    stated = found.get("labels")
    if stated is None:
        return own
    try:
        return LabelSet(
            name=stated["name"],
            names=tuple(stated["names"]),
            things=frozenset(stated["things"]),
            colors=tuple((red, green, blue) for red, green, blue in stated["colors"]),
            road=stated["road"],
        )
    except (ConfigError, *MALFORMED) as error:
        raise CheckpointError(f"{path}: the label set in the metadata cannot be read ({error})") from error


def _check_config(path: Path, found: dict[str, Any], config: ModelConfig) -> None:
    """Compare with the configuration in the metadata; tensors of equal shapes do not make equal networks."""
    expected = json.loads(json.dumps(dataclasses.asdict(config), default=sorted))
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if differing:
        others = ", ".join(
            f"{key}: file {shown(found.get(key))}, model {shown(expected.get(key))}" for key in differing[:4]
        )
        raise CheckpointError(
            f"{path}: written for another network than '{config.name}' ({others}); name the model it was trained as, "
            "or train it again"
        )
