"""One small network, exported once for all tests here."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from m2a_core.bundle.manifest import Thresholds
from m2a_core.cli.main import main
from m2a_core.export.network import ExportedNetwork
from m2a_core.export.notes import BundleNotes
from m2a_core.export.onnx_export import build_onnx
from m2a_core.labels.label_set import LabelSet
from m2a_core.model import MODELS, ModelConfig, build_model
from m2a_core.trt.builder import BuildRequest
from m2a_core.trt.gpu import Gpu, gpu_or_reason
from test.made_once import made_once
from test.tiny_network import TINY

LABELS = LabelSet(
    "three", ("road", "sky", "car"), frozenset({2}), ((128, 64, 128), (70, 130, 180), (0, 0, 142)), road=0
)
SMALL = dataclasses.replace(
    TINY, name="small", labels=LABELS, num_heads=2, num_queries=5, encoder_points=4, decoder_levels=2, mask_dim=32
)
SIZE = (72, 104)
NOTES = BundleNotes(Thresholds(anomaly=0.25, refined=0.2, overlap=0.7), "for tests", {"miou": 0.5})


def small_network(seed: int = 0, config: ModelConfig = SMALL, full_masks: bool = False) -> ExportedNetwork:
    """A network with random weights; 72 x 104 needs padding to 96 x 128."""
    torch.manual_seed(seed)
    model = build_model(config)
    for name, tensor in model.named_parameters():
        # Sampling offsets and classes that depend on the image, as after training.
        if "sampling_offsets.weight" in name or "class_embed" in name:
            torch.nn.init.normal_(tensor, std=0.5)
    return ExportedNetwork(model, SIZE, full_masks=full_masks).eval()


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

    def make(folder: Path) -> None:
        path = folder / "small.safetensors"
        save_weights(small_network().model.state_dict(), SMALL, path, {"run": "a run", "step": "7"})

    return made_once(tmp_path_factory, "weights", make) / "small.safetensors"


@pytest.fixture(scope="session")
def exported(tmp_path_factory, weights) -> Path:
    """Directory of the bundle that ``m2a export`` makes of the weights, beside a model card that was there before."""
    inputs = tmp_path_factory.mktemp("inputs")
    for i, picture in enumerate(pictures(3)):
        cv2.imwrite(str(inputs / f"{i}.png"), picture)
    (inputs / "thresholds.json").write_text(json.dumps({"anomaly": 0.25, "refined": 0.2, "overlap": 0.7}))
    (inputs / "metrics.json").write_text(json.dumps({"miou": 0.5}))

    def make(folder: Path) -> None:
        out = folder / "small-bundle"
        out.mkdir()
        (out / "MODEL_CARD.md").write_text("# stays")
        call = [
            "export", "--weights", str(weights), "--model", "small", "--size", "72x104", "--frames", str(inputs),
            "--thresholds", str(inputs / "thresholds.json"), "--metrics", str(inputs / "metrics.json"),
            "--license", "for tests", "--out", str(out), "--camera", "130x60", "--camera-encoding", "bgr8",
        ]  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(MODELS, "small", SMALL)
            assert main(call) == 0

    return made_once(tmp_path_factory, "exported", make) / "small-bundle"


@pytest.fixture(scope="session")
def papers_network() -> ExportedNetwork:
    """ResNet-50 as in the paper; two layers of the encoder and three of the decoder, whose layers are alike."""
    torch.manual_seed(0)
    config = dataclasses.replace(MODELS["r50-cityscapes"], encoder_layers=2, decoder_layers=3)
    return ExportedNetwork(build_model(config), (64, 128)).eval()


@pytest.fixture(scope="session")
def papers_graph(tmp_path_factory, papers_network) -> Path:
    """What ``papers_network`` is exported to."""
    metadata = {"m2a.input_size": "64x128"}

    def make(folder: Path) -> None:
        onnx.save(build_onnx(papers_network, metadata), folder / "r50.onnx")

    return made_once(tmp_path_factory, "papers_graph", make) / "r50.onnx"


def has_gpu(architecture: str | None = None) -> bool:
    gpu = gpu_or_reason(0)
    return isinstance(gpu, Gpu) and architecture in (None, gpu.architecture)


@pytest.fixture(scope="module")
def installed():
    """TensorRT for RTX; not imported here, which m2a must do first."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs m2a's extra [trt]")


@pytest.fixture(scope="module")
def request_for(exported, plugin, tmp_path_factory, installed):
    """Makes a request; what is not said is what the built engine was made with."""
    out = tmp_path_factory.mktemp("engine") / "small.engine"
    standard = BuildRequest(
        onnx=exported / "small-bundle.onnx",
        out=out,
        plugin=plugin,
        frames=pictures(2),
        backend="tensorrt_rtx",
        capability="sm89",
    )
    return lambda **changes: dataclasses.replace(standard, **changes)
