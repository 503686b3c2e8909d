"""Exported graph -> engine, in a real TensorRT (TensorRT for RTX, which builds without a GPU)."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from m2a_core.bundle.loading import load_bundle, sha256_of, shipped_frames
from m2a_core.errors import ModelError, OtherEngineError
from m2a_core.images import read_image
from m2a_core.metrics import parity
from m2a_core.model import MODELS
from m2a_core.runtime.factory import create_runtime
from m2a_core.trt import builder, progress
from m2a_core.trt.builder import build_engine
from m2a_core.trt.engine_manifest import NOT_VERIFIED, EngineManifest, manifest_path, reference_path
from m2a_core.trt.plugin_build import identity_of
from m2a_core.trt.reference import load_reference
from test.export.conftest import SIZE, has_gpu


@pytest.fixture(scope="module")
def shown() -> io.StringIO:
    """What a build writes to the terminal, with a line of progress every twentieth of a second."""
    return io.StringIO()


@pytest.fixture(scope="module")
def built(request_for, shown) -> tuple[EngineManifest, list[str], Path]:
    said: list[str] = []
    request = request_for()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(shown):
        patch.setattr(progress, "LOG_INTERVAL", 0.05)
        return build_engine(request, said.append), said, request.out


def test_log_names_the_plugin_and_the_layers_it_replaced(built):
    manifest, said, _ = built
    assert any("plugin MSDeformAttn version 1 from" in line for line in said)
    (layer,) = manifest.plugin_layers
    assert layer.startswith("model.pixel_decoder.layers.0.attention/")
    assert any(f"replaced 1 layers: {layer}" in line for line in said)


def test_log_of_a_build_is_neither_silent_nor_full_of_cursor_movements(built, shown):
    lines = shown.getvalue().splitlines()
    assert any(re.match(r"\d+ s: Building engine ", line) for line in lines)
    assert not [line for line in lines if "\x1b" in line or "\r" in line]


def test_manifest_says_what_the_engine_was_made_of_and_that_no_device_has_verified_it(built, exported, plugin):
    manifest, said, out = built
    key = manifest.key
    assert key.onnx_sha256 == load_bundle(exported).manifest.onnx_sha256
    assert key.plugin_identity == identity_of(plugin)
    assert (key.backend, key.architecture, key.precision) == ("tensorrt_rtx", "sm89", "fp16")
    assert (key.input_size, key.batches) == (SIZE, (1,))
    assert manifest.engine_sha256 == sha256_of(out)
    assert EngineManifest.load(manifest_path(out)) == manifest
    if not has_gpu("sm89"):
        assert manifest.verification == NOT_VERIFIED
        assert any(line.startswith(NOT_VERIFIED) for line in said)


def test_reference_holds_the_frames_and_what_onnx_runtime_says_of_them(built, exported):
    images, outputs = load_reference(reference_path(built[2]), built[0].reference_sha256)
    runtime = create_runtime(load_bundle(exported), threads=1)
    for image, output in zip(images, outputs, strict=True):
        assert abs(runtime.infer(image).anomaly - output.anomaly).max() < 1e-4


def test_engine_that_is_there_and_fits_is_kept(built, request_for):
    before = built[2].stat().st_mtime_ns
    said: list[str] = []
    assert build_engine(request_for(), said.append) == built[0]
    assert built[2].stat().st_mtime_ns == before
    assert "up to date" in said[0]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"precision": "fp32"}, "precision is fp16, wanted fp32"),
        ({"capability": "sm120"}, "architecture is sm89, wanted sm120"),
    ],
)
def test_engine_that_does_not_fit_is_refused_with_the_difference_named(built, request_for, changes, difference):
    with pytest.raises(ModelError, match=f"not the one asked for: {difference}.*--rebuild"):
        build_engine(request_for(**changes), print)
    assert sha256_of(built[2]) == built[0].engine_sha256


def without_its_manifest(engine: Path) -> None:
    manifest_path(engine).unlink()


def with_an_empty_manifest(engine: Path) -> None:
    manifest_path(engine).write_bytes(b"")


def of_an_older_m2a(engine: Path) -> None:
    path = manifest_path(engine)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 1}))


def cut_short(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-1])


def without_its_reference(engine: Path) -> None:
    reference_path(engine).unlink()


@pytest.mark.parametrize(
    "damage", [without_its_manifest, with_an_empty_manifest, of_an_older_m2a, cut_short, without_its_reference]
)
def test_engine_that_is_damaged_is_another_one_which_start_scripts_rebuild(built, request_for, tmp_path, damage):
    copy = tmp_path / "damaged.engine"
    for path_of in (Path, manifest_path, reference_path):
        shutil.copyfile(path_of(built[2]), path_of(copy))
    damage(copy)
    with pytest.raises(OtherEngineError, match="damaged.engine.*--rebuild"):
        build_engine(request_for(out=copy), print)


def test_engine_cannot_be_loaded_where_there_is_no_gpu_for_it(built, exported, plugin, monkeypatch):
    if has_gpu("sm89"):
        pytest.skip("this machine has the GPU that the engine is for")
    monkeypatch.setattr("m2a_core.trt.plugin_build.ensure_plugin", lambda: plugin)
    with pytest.raises(ModelError, match="cannot run here: it is for sm89, "):
        create_runtime(load_bundle(exported), "tensorrt_rtx", engine=built[2])


@pytest.mark.slow
def test_a_camera_s_graph_builds_and_its_engine_takes_the_camera_s_images(request_for, exported, tmp_path):
    camera = load_bundle(exported.with_name("small-bundle.130x60"))
    manifest = build_engine(request_for(onnx=camera.onnx_path, out=tmp_path / "camera.engine"), print)
    assert manifest.key.input_size == (60, 130)
    assert manifest.key.onnx_sha256 == camera.manifest.onnx_sha256
    images, _ = load_reference(reference_path(tmp_path / "camera.engine"), manifest.reference_sha256)
    assert images.shape[1:] == (60, 130, 3)


def test_shipped_network_builds(request_for, tmp_path):
    bundle = load_bundle("m2a-edge")
    frames = [read_image(path) for path in sorted(shipped_frames().iterdir())[:2]]
    manifest = build_engine(request_for(onnx=bundle.onnx_path, out=tmp_path / "edge.engine", frames=frames), print)
    assert len(manifest.plugin_layers) == MODELS["m2a-edge"].encoder_layers


@pytest.mark.slow
def test_the_papers_network_builds(papers_graph, request_for, tmp_path):
    said: list[str] = []
    # Single precision: half of it, the gate would compare noise with noise in an untrained network.
    request = request_for(onnx=papers_graph, out=tmp_path / "r50.engine", precision="fp32")
    manifest = build_engine(request, said.append)
    assert len(manifest.plugin_layers) == 2
    assert any(all(layer in line for layer in manifest.plugin_layers) for line in said)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_engine_cut_short_is_refused_before_it_is_loaded(built, exported, tmp_path, keep):
    copy = tmp_path / "cut.engine"
    for path_of in (Path, manifest_path, reference_path):
        shutil.copyfile(path_of(built[2]), path_of(copy))
    copy.write_bytes(copy.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"cut\.engine: SHA-256 is .*cut short, damaged"):
        create_runtime(load_bundle(exported), "tensorrt_rtx", engine=copy)


def test_nothing_is_written_where_the_precision_breaks_the_network(request_for, tmp_path, monkeypatch):
    strict = dataclasses.replace(parity.TOLERANCES["mixed"], max_error=0.0)
    monkeypatch.setitem(parity.TOLERANCES, "mixed", strict)
    with pytest.raises(ModelError, match="out of tolerance before it is built .*max_error"):
        build_engine(request_for(out=tmp_path / "x" / "a.engine"), print)
    assert list(tmp_path.iterdir()) == []


def test_plugin_that_is_not_named_is_built_and_fits(built, request_for, plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "find_headers", lambda: tmp_path)
    monkeypatch.setattr(builder, "ensure_plugin", lambda **options: plugin)
    assert build_engine(request_for(plugin=None), print) == built[0]
