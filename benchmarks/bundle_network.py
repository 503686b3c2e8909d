"""The PyTorch network of a bundle, for benchmarks that need what the exported graph does not give."""

from __future__ import annotations

from dataclasses import replace

from m2a_core.bundle.loading import ModelBundle
from m2a_core.model import MODELS, build_model
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.training.initial import load_related_weights


def bundle_network(bundle: ModelBundle) -> Mask2Anomaly:
    """Build the network from the weights beside the bundle's graph, in evaluation mode.

    Raises:
        SystemExit: the weights are those of another network or version.
        CheckpointError: the weights are missing or no safetensors file.
    """
    name = bundle.manifest.name
    model = build_model(replace(MODELS[name], labels=bundle.manifest.labels))
    path = bundle.directory / f"{name}.safetensors"
    if load_related_weights(model, path):
        raise SystemExit(f"{path}: not the weights of the network '{name}' of this version")
    return model.eval()
