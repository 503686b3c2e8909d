"""The result's backbone lies between where the run began and where training took it."""

from __future__ import annotations

import pytest
import torch

from test.training.synthetic import STAGES, tiny_trainer, train_config


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_backbone_of_the_result_lies_on_the_line_and_the_rest_is_as_trained(share, tmp_path):
    stages = [STAGES[0] | {"iterations": 2, "freeze_backbone": False, "backbone_lr": 1.0}]
    trainer = tiny_trainer(tmp_path, train_config(stages=stages, backbone_share=share))
    first = {name: x.clone() for name, x in trainer.average.state_dict().items()}
    assert trainer.run()
    trained = {name: x.clone() for name, x in trainer.average.state_dict().items()}
    assert any(not torch.equal(first[name], x) for name, x in trained.items() if name.startswith("backbone."))
    for name, value in trainer.result().items():
        expected = trained[name]
        if name.startswith("backbone.") and value.is_floating_point():
            expected = share * trained[name].double() + (1 - share) * first[name].double()
        torch.testing.assert_close(value.double(), expected.double(), rtol=0, atol=1e-6)
    for name, value in trainer.average.state_dict().items():
        assert torch.equal(value, trained[name])
