"""INT8: what is quantised, how, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from m2a_core.bundle.loading import ModelBundle, load_bundle, sha256_of
from m2a_core.errors import ConfigError, ExportError
from m2a_core.export import quantize
from m2a_core.export.quantize import CHOICES, quantise_bundle
from m2a_core.metrics import parity
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.trt.precision import convert
from m2a_core.trt.source import read_source
from test.export.conftest import SIZE, pictures

OPEN = parity.Tolerance(-1, 1, 0, 9, 9, 0, 9, 9, 0, 0, 1)
"""Lets everything pass."""


@pytest.fixture(scope="module")
def bundle(exported) -> ModelBundle:
    return load_bundle(exported)


@pytest.fixture(scope="module")
def quantised(bundle, tmp_path_factory) -> ModelBundle:
    """Weights drawn at random lose more in INT8 than trained ones, so the gate is opened."""
    out = tmp_path_factory.mktemp("quantised") / "small-int8"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(parity.TOLERANCES, "int8", OPEN)
        quantise_bundle(bundle, pictures(8), out, said.append)
    assert said == ["quantised model.backbone and model.pixel_decoder"]
    return load_bundle(out)


def test_quantised_bundle_loads_and_says_what_it_is(quantised):
    assert quantised.manifest.name == "small-int8"
    assert read_source(quantised.onnx_path).precision == "int8"
    output = OnnxRuntime(quantised, threads=1).infer(np.zeros((*SIZE, 3), np.uint8))
    assert np.isfinite(output.anomaly).all()


def test_layers_with_weights_are_quantised_but_not_where_samples_are_placed_or_maps_made(quantised):
    model = onnx.load(quantised.onnx_path)
    made_by = {output: node for node in model.graph.node for output in node.output}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm")]
    quantised_layers = [
        n for n in layers if all(made_by.get(i) and made_by[i].op_type == "DequantizeLinear" for i in n.input[:2])
    ]
    assert len(quantised_layers) > 15
    assert all(n.name.startswith(CHOICES[0]) for n in quantised_layers)
    (attention,) = [n for n in model.graph.node if n.op_type == "MSDeformAttn"]
    bias = made_by[attention.input[1]]
    assert not any(made_by[i] in quantised_layers for i in bias.input if i in made_by)


def test_quantisation_has_no_zero_points_that_tensorrt_would_refuse(quantised):
    model = onnx.load(quantised.onnx_path)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert nodes
    for node in nodes:
        zero = weights[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()


def test_quantised_graph_gives_int8_engines_only(quantised):
    source = read_source(quantised.onnx_path)
    source.check(None, (1,), "int8")
    with pytest.raises(ConfigError, match="its tensors are int8.*name the fp32 graph"):
        source.check(None, (1,), "fp16")


def test_results_out_of_tolerance_are_not_written(bundle, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(parity.TOLERANCES, "int8", dataclasses.replace(OPEN, rank_correlation=1.1))
    said: list[str] = []
    with pytest.raises(ExportError, match="bad: quantised results are out of tolerance"):
        quantise_bundle(bundle, pictures(8), tmp_path / "bad", said.append)
    assert ["backbone" in line for line in said] == [True, False]
    assert list(tmp_path.iterdir()) == []
    # ONNX Runtime's advice is none that a user could follow.
    assert caplog.text == ""


def test_a_bundle_is_not_replaced_by_its_own_quantisation(bundle):
    with pytest.raises(ExportError, match="is the single-precision bundle itself"):
        quantise_bundle(bundle, pictures(8), bundle.directory / "." / "", print)
    assert load_bundle(bundle.directory).manifest == bundle.manifest


@pytest.mark.parametrize(("place", "message"), [("/", "no name for a bundle"), ("file", "is a file")])
def test_place_that_cannot_hold_a_bundle_is_refused_before_the_work(bundle, tmp_path, monkeypatch, place, message):
    def calibrate(*_: object, **__: object) -> None:
        raise AssertionError("work of minutes began")

    (tmp_path / "file").touch()
    monkeypatch.setattr(quantize, "quantize_static", calibrate)
    with pytest.raises(ExportError, match=message):
        quantise_bundle(bundle, pictures(8), tmp_path / place, print)


def test_too_few_frames_and_other_precisions_are_refused(bundle, tmp_path):
    with pytest.raises(ExportError, match="at least 8 real frames, got 7"):
        quantise_bundle(bundle, pictures(7), tmp_path / "few", print)
    half = convert(onnx.load(bundle.onnx_path), "mixed")
    next(e for e in half.metadata_props if e.key == "m2a.precision").value = "mixed"
    onnx.save(half, tmp_path / "half.onnx")
    manifest = dataclasses.replace(bundle.manifest, onnx_sha256=sha256_of(tmp_path / "half.onnx"))
    with pytest.raises(ExportError, match="precision is mixed, only a graph of"):
        quantise_bundle(ModelBundle(manifest, tmp_path, tmp_path / "half.onnx"), pictures(8), tmp_path / "x", print)
