"""One small network, exported once for all tests here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from m2a_core.bundle.manifest import Thresholds
from m2a_core.cli.main import main
from m2a_core.export.network import ExportedNetwork
from m2a_core.export.notes import BundleNotes
from m2a_core.labels.label_set import LabelSet
from m2a_core.model import MODELS, ModelConfig, build_model
from m2a_core.ops.compile import find_nvcc
from m2a_core.trt.plugin_build import ensure_plugin

LABELS = LabelSet(
    "three", ("road", "sky", "car"), frozenset({2}), ((128, 64, 128), (70, 130, 180), (0, 0, 142)), road=0
)
SMALL = ModelConfig(
    name="small",
    labels=LABELS,
    backbone="efficientnet_lite0",
    hidden_dim=32,
    num_heads=2,
    num_queries=5,
    encoder_levels=("res5", "res4"),
    encoder_layers=1,
    encoder_ffn=32,
    encoder_points=4,
    fpn_conv="separable",
    decoder_layers=2,
    decoder_levels=2,
    decoder_ffn=32,
    mask_dim=32,
)
SIZE = (72, 104)
NOTES = BundleNotes(Thresholds(anomaly=0.25, refined=0.2, overlap=0.7), "for tests", {"miou": 0.5})


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
    """Directory of the bundle that ``m2a export`` makes of the weights, beside a model card that was there before."""
    out = tmp_path_factory.mktemp("engines") / "small-bundle"
    out.mkdir()
    (out / "MODEL_CARD.md").write_text("# stays")
    inputs = tmp_path_factory.mktemp("inputs")
    for i, picture in enumerate(pictures(3)):
        cv2.imwrite(str(inputs / f"{i}.png"), picture)
    (inputs / "thresholds.json").write_text(json.dumps({"anomaly": 0.25, "refined": 0.2, "overlap": 0.7}))
    (inputs / "metrics.json").write_text(json.dumps({"miou": 0.5}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "small", SMALL)
        code = main([
            "export", "--weights", str(weights), "--model", "small", "--size", "72x104", "--frames", str(inputs),
            "--thresholds", str(inputs / "thresholds.json"), "--metrics", str(inputs / "metrics.json"),
            "--license", "for tests", "--out", str(out), "--camera", "130x60", "--camera-encoding", "bgr8",
        ])  # fmt: skip
    assert code == 0
    return out


@pytest.fixture(scope="session")
def plugin(tensorrt_headers: Path) -> Path:
    """The plugin's library, for one architecture."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no TensorRT for RTX: needs m2a's extra [trt]")
    if find_nvcc() is None or shutil.which("cmake") is None:
        pytest.skip("no nvcc or no cmake: the plugin cannot be built")
    # Kept between runs: compiling takes longer than all tests here, and the folder's entries are named by contents.
    cache = Path(tempfile.gettempdir(), f"m2a-test-plugin-{os.getuid()}")
    return ensure_plugin(cache, tensorrt_headers, architectures=(89,))
