"""One small network, exported once for all tests here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from m2a_core.export.bundle_writer import BundleNotes
from m2a_core.export.network import ExportedNetwork
from m2a_core.labels import LabelSet
from m2a_core.manifest import Thresholds
from m2a_core.model import ModelConfig, build_model

LABELS = LabelSet(
    "three", ("road", "sky", "car"), frozenset({2}), ((128, 64, 128), (70, 130, 180), (0, 0, 142)), road=0
)
SMALL = ModelConfig(
    name="small", labels=LABELS, backbone="efficientnet_lite0", hidden_dim=32, num_heads=2, num_queries=5,
    encoder_levels=("res5", "res4"), encoder_layers=1, encoder_ffn=32, encoder_points=2, fpn_conv="separable",
    decoder_layers=3, decoder_ffn=32, mask_dim=32,
)  # fmt: skip
SIZE = (72, 104)
NOTES = BundleNotes(Thresholds(anomaly=0.25, refined=0.2), "for tests", {"miou": 0.5})


def small_network(seed: int = 0, kind: type[ExportedNetwork] = ExportedNetwork) -> ExportedNetwork:
    """A network with random weights; 72 x 104 needs padding to 96 x 128."""
    torch.manual_seed(seed)
    model = build_model(SMALL)
    for name, tensor in model.named_parameters():
        # Sampling offsets and classes that depend on the image, as after training.
        if "sampling_offsets.weight" in name or "class_embed" in name:
            torch.nn.init.normal_(tensor, std=0.5)
    return kind(model, SIZE).eval()


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth random images of several sizes."""
    rng = np.random.default_rng(seed)
    import cv2

    sizes = [(72, 104), (60, 130), (200, 150)]
    return [
        cv2.resize(rng.integers(0, 256, (9, 13, 3), np.uint8), sizes[i % 3][::-1], interpolation=cv2.INTER_CUBIC)
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    from m2a_core.training.weights import save_weights

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(small_network().model.state_dict(), SMALL, path, {"run": "a run", "step": "7"})
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory, weights) -> Path:
    """Directory of the exported bundle."""
    from m2a_core.export.bundle_writer import export_bundle

    out = tmp_path_factory.mktemp("engines") / "small-bundle"
    out.mkdir()
    (out / "MODEL_CARD.md").write_text("# stays")
    report = export_bundle(small_network(), weights, pictures(3), out, NOTES, {"run": "a run", "step": "7"})
    assert all(entry.passes for entry in report)
    return out
