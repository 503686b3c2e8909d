"""m2a-base: no weights ship, but it must build and learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from m2a_core.model import build_model  # noqa: E402
from m2a_core.training.build import network_of  # noqa: E402
from m2a_core.training.config import load_config  # noqa: E402
from m2a_core.training.losses import Criterion  # noqa: E402
from m2a_core.training.network import TrainedNetwork  # noqa: E402
from m2a_core.training.targets import make_target  # noqa: E402

RECIPE = Path(__file__).parents[2] / "config" / "training" / "m2a-base.yaml"


@pytest.mark.slow
def test_every_parameter_of_m2a_base_gets_a_gradient_in_each_stage_of_its_recipe():
    config = load_config(RECIPE)
    network = network_of(config)
    torch.manual_seed(0)
    model = build_model(network)
    model.backbone.requires_grad_(True)
    trained = TrainedNetwork(model, torch.nn.Conv2d(network.mask_dim, network.labels.num_classes, 1), frozen=False)
    label = np.zeros((64, 96), np.uint8)
    label[:30] = 10
    label[40:50, 20:40] = 13
    outlier = np.zeros(label.shape, bool)
    outlier[50:60, 60:80] = True
    label[outlier] = 255
    for stage in config.stages:
        criterion = Criterion(network.labels.num_classes, stage.loss)
        target = make_target(label, outlier, network.labels, config.data.min_component, config.data.max_segments)
        heads, pixel = trained(torch.randn(1, 3, 64, 96))
        loss, _ = criterion(heads, [target], pixel, [0])
        trained.zero_grad()
        loss.backward()
        without = [name for name, p in trained.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert without == [], stage.name
