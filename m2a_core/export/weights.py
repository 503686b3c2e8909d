"""Loading trained weights into the network they were trained for, or saying why they do not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from m2a_core.errors import CheckpointError, ConfigError
from m2a_core.model import MODELS, ModelConfig, build_model
from m2a_core.model.mask2anomaly import Mask2Anomaly


def load_trained(path: Path, model: str) -> tuple[Mask2Anomaly, dict[str, str]]:
    """Make a network and fill it with weights.

    Args:
        path: safetensors file as ``m2a train`` writes it.
        model: name in the zoo.

    Returns:
        The network in evaluation mode, and the file's metadata.

    Raises:
        ConfigError: no such model.
        CheckpointError: the file is missing or damaged, was written for another network, a tensor is missing, unknown,
            of another shape or not finite.
    """
    if model not in MODELS:
        raise ConfigError(f"model '{model}': expected one of {', '.join(MODELS)}")
    config = MODELS[model]
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); train or restore it") from error
    _check_config(path, metadata, config)
    network = build_model(config)
    _check_tensors(path, state, network.state_dict(), model)
    network.load_state_dict(state)
    return network.eval(), metadata


def _check_config(path: Path, metadata: dict[str, str], config: ModelConfig) -> None:
    """Compare the configuration in the metadata, where there is one; equal shapes do not make equal networks."""
    if "config" not in metadata:
        return
    expected = json.loads(json.dumps(dataclasses.asdict(config), default=sorted))
    found = json.loads(metadata["config"])
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if differing:
        shown = ", ".join(f"{key}: file {found.get(key)!r}, model {expected.get(key)!r}" for key in differing[:4])
        raise CheckpointError(
            f"{path}: written for another network than '{config.name}' ({shown}); name the model it was trained as, "
            "or train it anew"
        )


def _check_tensors(
    path: Path, state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> None:
    problems = [f"missing {key}" for key in sorted(expected.keys() - state.keys())]
    problems += [f"unknown {key}" for key in sorted(state.keys() - expected.keys())]
    for key in sorted(expected.keys() & state.keys()):
        if state[key].shape != expected[key].shape:
            problems.append(f"{key} is {list(state[key].shape)}, expected {list(expected[key].shape)}")
        elif not torch.isfinite(state[key]).all():
            problems.append(f"{key} holds NaN or infinity")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{path}: does not fit '{model}': {'; '.join(problems[:5])}{more}")
