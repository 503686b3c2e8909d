"""Our network against `transformers`' Mask2Former with the same random weights, every decoder layer, both backbones."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from m2a_core.labels.builtin import CAMVID11  # noqa: E402
from m2a_core.model import ModelConfig, backbones, build_model  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from m2a_core.model.backbones.swin import Swin, SwinConfig  # noqa: E402
from m2a_core.model.checkpoints.convert import load_foreign  # noqa: E402

LAYERS = 4
SIZE = (96, 160)
"""Gives res5 3x5: smaller than a window, odd sizes in patch merging, windows that need padding at every stage."""


def small_config(backbone: str) -> ModelConfig:
    return ModelConfig(
        name="small",
        labels=CAMVID11,
        backbone=backbone,
        hidden_dim=64,
        num_heads=4,
        num_queries=12,
        encoder_layers=2,
        encoder_ffn=96,
        decoder_layers=LAYERS,
        decoder_ffn=80,
        attention="masked",
        mask_dim=32,
    )


def huggingface_model(backbone: str):
    transformers = pytest.importorskip("transformers")
    stages = ["stage1", "stage2", "stage3", "stage4"]
    if backbone == "swin":
        backbone_config = transformers.SwinConfig(
            embed_dim=32, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8], window_size=7, out_features=stages
        )
    else:
        backbone_config = transformers.ResNetConfig(
            embedding_size=16, hidden_sizes=[64, 128, 256, 512], depths=[2, 3, 2, 2], out_features=stages
        )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone_config,
        feature_size=64,
        mask_feature_size=32,
        hidden_dim=64,
        num_attention_heads=4,
        num_queries=12,
        encoder_layers=2,
        encoder_feedforward_dim=96,
        decoder_layers=LAYERS + 1,
        dim_feedforward=80,
        num_labels=CAMVID11.num_classes,
        dropout=0.0,
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    randomise(model, seed=3)
    return model


def randomise(model, seed: int) -> None:
    """Give every parameter and statistic a value of its own that keeps activations near unit size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(noise * value[0].numel() ** -0.5)
            elif name.endswith("running_var"):
                value.copy_(1 + 0.3 * noise.abs())
            else:
                value.add_(0.2 * noise)


@pytest.fixture(scope="module", params=["resnet", "swin"])
def pair(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "resnet", lambda: ResNet((2, 3, 2, 2), stem_channels=16))
        patch.setitem(backbones.BACKBONES, "swin", lambda: Swin(SwinConfig(32, (2, 2, 4, 2), (1, 2, 4, 8), 7)))
        yield make_pair(request.param, tmp_path_factory)


def make_pair(backbone, tmp_path_factory):
    theirs = huggingface_model(backbone)
    directory = tmp_path_factory.mktemp("hf")
    theirs.save_pretrained(directory)
    ours = build_model(small_config(backbone)).eval()
    loaded = load_foreign(ours, Path(directory), "hf")
    assert loaded.initialised == ()
    return theirs, ours


def layer_errors(pair, dtype) -> list[float]:
    theirs, ours = (model.to(dtype) for model in pair)
    image = torch.randn((2, 3, *SIZE), generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
    with torch.inference_mode():
        want = theirs(image, output_auxiliary_logits=True)
        got = ours(image, all_layers=True)
    pairs = [
        *((layer["class_queries_logits"], layer["masks_queries_logits"]) for layer in want.auxiliary_logits),
        (want.class_queries_logits, want.masks_queries_logits),
    ]
    mine = [*got.aux, (got.class_logits, got.mask_logits)]
    assert len(pairs) == len(mine) == LAYERS + 1
    errors = []
    for expected, actual in zip(pairs, mine, strict=True):
        for a, b in zip(expected, actual, strict=True):
            assert a.shape == b.shape
            assert a.std() > 1e-2  # a collapsed network would agree with anything
            errors.append(float((a - b).abs().max() / a.abs().max()))
        positive = float((actual[1] > 0).double().mean())
        assert 0.02 < positive < 0.98
    return errors


@pytest.mark.slow
def test_every_layer_equals_transformers_in_float64(pair):
    assert max(layer_errors(pair, torch.float64)) <= 1e-9


@pytest.mark.slow
def test_every_layer_equals_transformers_in_float32(pair):
    assert max(layer_errors(pair, torch.float32)) <= 1e-4


@pytest.mark.slow
def test_names_of_a_model_in_memory_are_understood_too(pair, tmp_path):
    theirs, ours = (model.to(torch.float32) for model in pair)
    torch.save(theirs.state_dict(), tmp_path / "memory.bin")
    again = build_model(ours.config)
    load_foreign(again, tmp_path / "memory.bin", "hf")
    state = ours.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
