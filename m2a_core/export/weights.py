"""Loading trained weights into the network they were trained for, or saying why they do not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from m2a_core.errors import CheckpointError
from m2a_core.model import ModelConfig, build_model
from m2a_core.model.checkpoints.names import NameMap, Rule, map_names
from m2a_core.model.checkpoints.reading import read_metadata, read_state_dict
from m2a_core.model.checkpoints.store import load_weights, read_manifest
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
        CheckpointError: the file is missing or damaged, was written for another network, a tensor is missing, unknown,
            of another shape or not finite.
    """
    config = named_config(model)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the safetensors file of `m2a train` or `m2a convert`")
    metadata = read_metadata(path)
    if "m2a" in metadata:
        network = build_model(named_config(model, read_manifest(path)["attention"]))
        load_weights(network, path)
    else:
        network = build_model(config)
        _check_config(path, metadata, config)
        network.load_state_dict(map_names(read_state_dict(path), network.state_dict(), _TRAINED, str(path)).tensors)
    return network.eval(), metadata


def _check_config(path: Path, metadata: dict[str, str], config: ModelConfig) -> None:
    """Compare the configuration in the metadata; tensors of equal shapes do not make equal networks."""
    try:
        found = json.loads(metadata.get("config", ""))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: no configuration in the metadata; expected weights written by `m2a train`")
    expected = json.loads(json.dumps(dataclasses.asdict(config), default=sorted))
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if differing:
        shown = ", ".join(f"{key}: file {found.get(key)!r}, model {expected.get(key)!r}" for key in differing[:4])
        raise CheckpointError(
            f"{path}: written for another network than '{config.name}' ({shown}); name the model it was trained as, "
            "or train it anew"
        )
