"""From weights to a bundle that says what PyTorch says."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from m2a_core.bundle.loading import load_bundle
from m2a_core.cli.export import manifest_notes
from m2a_core.cli.main import main
from m2a_core.contract.io_spec import FULL_MASKS, OUTPUTS, RAW_OUTPUTS
from m2a_core.errors import CheckpointError, ConfigError, ExportError, ModelError
from m2a_core.export import bundle_writer
from m2a_core.export.bundle_writer import export_bundle
from m2a_core.export.verify import agreements, verify
from m2a_core.export.weights import load_trained
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.model import MODELS, build_model
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.factory import create_runtime
from m2a_core.training.weights import save_weights
from test.export.conftest import LABELS, NOTES, SMALL, pictures, small_network


def test_graph_gives_what_pytorch_gives_on_images_it_was_not_verified_on(exported):
    runtime = create_runtime(load_bundle(exported), threads=1)
    network = small_network()
    for picture in pictures(4, seed=9):
        image, _ = Letterbox(network.input_size).apply(picture)
        got = runtime.infer(image, raw=True)
        with torch.no_grad():
            expected = network(torch.from_numpy(image)[None])
        for spec, want in zip(OUTPUTS + RAW_OUTPUTS, expected, strict=True):
            have = getattr(got, spec.name)
            if spec.dtype == "float32":
                assert np.abs(have - want[0].numpy()).max() < 1e-3, spec.name
            else:
                assert (have == want[0].numpy()).mean() > 0.999, spec.name


def test_outputs_of_the_test_network_vary_so_that_agreement_means_something():
    with torch.no_grad():
        outputs = [small_network()(torch.from_numpy(p)[None]) for p in (pictures(1)[0], pictures(4, seed=5)[3])]
    for spec, first, second in zip(OUTPUTS + RAW_OUTPUTS, *outputs, strict=True):
        if spec.dtype == "float32" and spec.name != "refined":
            assert (first - second).abs().max() > 0.01, spec.name


def test_manifest_describes_the_bundle(exported):
    manifest = load_bundle(exported).manifest
    assert manifest.name == "small-bundle"
    assert manifest.labels == LABELS
    assert manifest.input_size == (72, 104)
    assert manifest.num_queries == 5
    assert (manifest.thresholds, manifest.license, manifest.metrics) == (NOTES.thresholds, "for tests", {"miou": 0.5})
    assert manifest.created_with["torch"] == torch.__version__


def test_bundle_holds_graph_weights_and_what_was_there(exported, weights):
    names = {"MODEL_CARD.md", "manifest.json", "small-bundle.onnx"}
    names |= {"small-bundle.safetensors", "small-bundle.safetensors.sha256"}
    assert {p.name for p in exported.iterdir()} == names
    of_camera = exported.with_name("small-bundle.130x60")
    assert {p.name for p in of_camera.iterdir()} == {"manifest.json", "small-bundle.130x60.onnx"}
    assert {p.name for p in exported.parent.iterdir()} == {exported.name, of_camera.name}
    assert (exported / "small-bundle.safetensors").read_bytes() == weights.read_bytes()


def test_graph_is_self_contained_and_names_its_origin_but_not_this_machine(exported, weights):
    path = exported / "small-bundle.onnx"
    graph = onnx.load(path, load_external_data=False)
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata["m2a.weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metadata["m2a.trained.step"] == "7"
    text = path.read_bytes()
    assert b"site-packages" not in text
    assert b'.py", line' not in text


def test_graph_has_only_standard_operators_and_folded_constants_but_for_the_deformable_attention(exported):
    model = onnx.load(exported / "small-bundle.onnx")
    graph = model.graph
    assert {(node.domain, node.op_type) for node in graph.node if node.domain} == {("m2a", "MSDeformAttn")}
    (body,) = model.functions
    assert {node.domain for node in body.node} == {""}
    operators = {node.op_type for node in (*graph.node, *body.node)}
    assert "GridSample" in operators
    assert not operators & {"Shape", "Range", "ConstantOfShape", "If", "Loop", "NonZero"}


def test_graph_of_other_weights_fails_verification(exported):
    with pytest.raises(ExportError, match=r"disagrees with PyTorch on 2 frames .*class_logits: max error"):
        verify(create_runtime(load_bundle(exported)), small_network(seed=1), pictures(2))


@pytest.mark.parametrize(
    ("scale", "error", "share", "passes"),
    [
        (1, 2e-4, 1, True),
        (1, 1e-3, 1, False),
        (40, 8e-3, 1, True),
        (40, 2e-2, 1, False),
        (1, 0.04, 5e-4, True),
        (1, 0.06, 5e-4, False),
        (1, 0.04, 5e-3, False),
        (1, float("nan"), 1e-5, False),
    ],
)
def test_single_values_may_be_far_off_and_errors_are_measured_by_what_they_are_of(scale, error, share, passes):
    want = np.linspace(-scale, scale, 100_000, dtype=np.float32).reshape(1, 250, 400)
    have = want.copy()
    have.ravel()[: round(want.size * share)] += error
    none = dict.fromkeys(spec.name for spec in (*OUTPUTS, *RAW_OUTPUTS, FULL_MASKS))
    (entry,) = agreements(SimpleNamespace(**none | {"anomaly": want}), SimpleNamespace(**none | {"anomaly": have}))
    assert entry.passes == passes


def test_verification_without_frames_is_refused(exported):
    with pytest.raises(ExportError, match="at least one frame"):
        verify(create_runtime(load_bundle(exported)), small_network(), [])


def test_nothing_is_written_when_the_graph_disagrees(exported, tmp_path, weights, monkeypatch):
    """Of an exporter that gets one value wrong."""
    graph = onnx.load(exported / "small-bundle.onnx")
    for node in graph.graph.node:
        node.output[:] = ["right" if name == "anomaly" else name for name in node.output]
        node.input[:] = ["right" if name == "anomaly" else name for name in node.input]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0.01], np.float32), "error"))
    graph.graph.node.append(onnx.helper.make_node("Add", ["right", "error"], ["anomaly"]))
    monkeypatch.setattr(bundle_writer, "build_onnx", lambda *_: graph)
    out = tmp_path / "wrong"
    with pytest.raises(ExportError, match=r"anomaly: max error 0\.0"):
        export_bundle(small_network(), weights, pictures(1), out, NOTES, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "message"), [("/", "no name for a bundle"), ("file", "is a file"), ("file/x", "cannot write the bundle")]
)
def test_place_that_cannot_hold_a_bundle_is_refused_before_the_work(tmp_path, weights, monkeypatch, place, message):
    def trace(*_: object) -> None:
        raise AssertionError("work of minutes began")

    (tmp_path / "file").touch()
    monkeypatch.setattr(bundle_writer, "build_onnx", trace)
    with pytest.raises(ExportError, match=message):
        export_bundle(small_network(), weights, pictures(1), tmp_path / place, NOTES, {})


def test_what_is_not_given_is_kept_from_the_manifest_that_is_there(exported):
    previous = load_bundle(exported).manifest
    nothing_given = argparse.Namespace(thresholds=None, metrics=None, license=None, decision=None, refinement="paper")
    # Figures are of other weights, or of the same in another graph: they are not measured.
    assert manifest_notes(nothing_given, previous) == replace(NOTES, metrics={})


def test_thresholds_that_are_given_leave_the_others_of_the_manifest_as_they_are(exported, tmp_path):
    previous = load_bundle(exported).manifest
    (tmp_path / "t.json").write_text('{"anomaly": 0.75}')
    given = argparse.Namespace(
        thresholds=tmp_path / "t.json", metrics=None, license=None, decision=None, refinement="paper"
    )
    assert manifest_notes(given, previous).thresholds == replace(previous.thresholds, anomaly=0.75)


def test_weights_that_are_not_those_whose_hash_lies_beside_them_are_refused(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "small", SMALL)
    weights = tmp_path / "small-bundle.safetensors"
    for suffix in ("", ".sha256"):
        (tmp_path / (weights.name + suffix)).write_bytes((exported / (weights.name + suffix)).read_bytes())
    load_trained(weights, "small")
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"SHA-256 is .*small-bundle\.safetensors\.sha256 says"):
        load_trained(weights, "small")


def test_weights_trained_with_another_attention_are_loaded_with_it(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "small", SMALL)
    config = replace(SMALL, attention="masked")
    save_weights(build_model(config).state_dict(), config, tmp_path / "w.safetensors", {})
    network, _ = load_trained(tmp_path / "w.safetensors", "small")
    assert network.config == config


def test_weights_bring_the_classes_that_their_head_knows(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "small", SMALL)
    config = replace(SMALL, labels=CITYSCAPES19 if SMALL.labels != CITYSCAPES19 else CAMVID11)
    save_weights(build_model(config).state_dict(), config, tmp_path / "w.safetensors", {})
    network, _ = load_trained(tmp_path / "w.safetensors", "small")
    assert network.config.labels == config.labels


def test_thresholds_and_decision_can_be_those_of_the_bundle_that_training_began_with():
    given = argparse.Namespace(thresholds="m2a-edge", metrics=None, license=None, decision=None, refinement="paper")
    shipped = load_bundle("m2a-edge").manifest
    notes = manifest_notes(given, None)
    assert (notes.thresholds, notes.decision, notes.license) == (shipped.thresholds, shipped.decision, shipped.license)
    given.thresholds = "no-such-bundle"
    with pytest.raises(ModelError, match="no-such-bundle"):
        manifest_notes(given, None)


def test_damaged_manifest_of_the_bundle_holds_up_only_an_export_that_would_keep_its_thresholds(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("{}")
    call = [
        "export",
        "--weights",
        "none.safetensors",
        "--model",
        "m2a-edge",
        "--size",
        "72x104",
        "--out",
        str(tmp_path),
    ]
    assert main(call) == 2
    assert "give others with --thresholds" in capsys.readouterr().err
    # Now it is the weights that are missing.
    assert main([*call, "--thresholds", "m2a-edge"]) == 2
    said = capsys.readouterr().err
    assert "decision and licence are not kept" in said
    assert "none.safetensors: no such file" in said


def test_thresholds_are_placeholders_until_they_are_chosen():
    notes = manifest_notes(
        argparse.Namespace(thresholds=None, metrics=None, license=None, decision=None, refinement="paper"), None
    )
    assert (notes.thresholds.anomaly, notes.thresholds.refined, notes.license) == (0.5, 0.5, "not stated")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"anomaly": "high", "refined": 0.1}',
        '{"anomaly": 0.1}',
        '{"x": 1}',
        pytest.param(f'{{"anomaly": {9**400}, "refined": 0.1}}', id="too many digits"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(tmp_path, weights, capsys, text):
    (tmp_path / "thresholds.json").write_text(text)
    frame = tmp_path / "a.png"
    frame.write_bytes(b"not looked at yet")
    code = main(
        [
            "export",
            "--weights",
            str(weights),
            "--model",
            "small",
            "--size",
            "72x104",
            "--frames",
            str(frame),
            "--out",
            str(tmp_path / "out"),
            "--thresholds",
            str(tmp_path / "thresholds.json"),
        ]
    )
    assert code == 2
    assert "thresholds.json" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["360", "0x480", "360X480", "axb", "-4x8"])
def test_size_that_is_no_size_is_refused(size, capsys):
    call = ["export", "--weights", "w", "--model", "small", f"--size={size}", "--frames", "f", "--out", "o"]
    assert main(call) == 2
    assert f"size '{size}': expected HEIGHTxWIDTH" in capsys.readouterr().err


def test_weights_load_into_the_network_they_were_trained_for(weights, monkeypatch):
    monkeypatch.setitem(MODELS, "small", SMALL)
    model, metadata = load_trained(weights, "small")
    expected = small_network().model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert metadata["run"] == "a run"


def test_weights_of_another_network_are_refused_though_all_shapes_fit(weights, monkeypatch):
    other = dataclasses.replace(SMALL, num_heads=4, encoder_points=2)
    monkeypatch.setitem(MODELS, "small", other)
    with pytest.raises(CheckpointError, match="encoder_points: file 4, model 2.*num_heads: file 2, model 4"):
        load_trained(weights, "small")


@pytest.mark.parametrize("cut", [0, 5, 1000, -1])
def test_damaged_weights_are_refused(weights, tmp_path, monkeypatch, cut):
    monkeypatch.setitem(MODELS, "small", SMALL)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        load_trained(path, "small")


def test_weights_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    from m2a_core.training.weights import save_weights

    monkeypatch.setitem(MODELS, "small", SMALL)
    state = small_network().model.state_dict()
    name = next(key for key in state if key.endswith("mask_features.weight"))
    state[name][0] = float("nan")
    save_weights(state, SMALL, tmp_path / "nan.safetensors", {})
    with pytest.raises(CheckpointError, match="mask_features.weight"):
        load_trained(tmp_path / "nan.safetensors", "small")


def test_unknown_model_and_missing_weights_are_named(tmp_path):
    with pytest.raises(ConfigError, match="model 'nope': expected one of .*m2a-edge"):
        load_trained(tmp_path / "w.safetensors", "nope")
    with pytest.raises(CheckpointError, match="no such file"):
        load_trained(tmp_path / "w.safetensors", "m2a-edge")
