"""A run that starts from a related network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from m2a_core.errors import CheckpointError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import LabelSet
from m2a_core.model import build_model
from m2a_core.training.initial import find_weights, load_by_class, load_related_weights
from m2a_core.training.weights import save_weights
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


def test_classes_of_one_name_keep_their_row_of_the_class_head(tmp_path):
    related = build_model(TINY)
    path = tmp_path / "related.safetensors"
    save_weights(related.state_dict(), TINY, path, {})
    own = replace(TINY, labels=LabelSet("own", ("Road", "moose", "vehicle"), frozenset({1, 2}), ((0, 0, 0),) * 3, 0))
    model = build_model(own)
    anew = model.transformer_decoder.class_head.weight[1].clone()
    assert load_by_class(model, path, [["Road"], ["moose"], ["vehicle", "car", "bicyclist"]]) == ["Road", "vehicle"]
    rows = related.transformer_decoder.class_head.weight
    names = CAMVID11.names
    expected = torch.stack(
        [rows[names.index("road")], anew, rows[[names.index("car"), names.index("bicyclist")]].mean(0), rows[-1]]
    )
    assert torch.equal(model.transformer_decoder.class_head.weight, expected)
    before = related.state_dict()
    for name, value in model.state_dict().items():
        assert "class_head" in name or torch.equal(value, before[name]), name


def test_weights_are_found_by_file_or_by_bundle(tmp_path):
    assert find_weights("../a.safetensors", tmp_path / "b") == tmp_path / "b" / "../a.safetensors"
    assert find_weights("m2a-edge", tmp_path).name == "m2a-edge.safetensors"
    with pytest.raises(CheckpointError, match=r"initial weights 'absent': no file .*absent, and no bundle"):
        find_weights("absent", tmp_path)
