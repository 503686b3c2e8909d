"""A run that starts from a related network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from m2a_core.errors import CheckpointError
from m2a_core.model import build_model
from m2a_core.training.initial import load_related_weights
from test.training.synthetic import TINY


def test_what_agrees_in_name_and_shape_is_taken_and_the_rest_is_named(tmp_path):
    related = build_model(replace(TINY, num_queries=TINY.num_queries + 1))
    save_file(related.state_dict(), tmp_path / "related.safetensors")
    model = build_model(TINY)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    kept = load_related_weights(model, tmp_path / "related.safetensors")
    assert kept == ["transformer_decoder.query_features", "transformer_decoder.query_position"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in kept else related.state_dict()[name])


def test_files_that_cannot_serve_are_named(tmp_path):
    model = build_model(TINY)
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: cannot be read"):
        load_related_weights(model, tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match=r"cut\.safetensors: cannot be read"):
        load_related_weights(model, tmp_path / "cut.safetensors")
    save_file({"foreign": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="no tensor has a name and shape"):
        load_related_weights(model, tmp_path / "foreign.safetensors")
