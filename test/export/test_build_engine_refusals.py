"""Requests, plugins and graphs that no engine is built of, and the words for it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from m2a_core.cli.main import main
from m2a_core.errors import ConfigError, ModelError, NoGpuError
from m2a_core.trt import builder
from m2a_core.trt.backend import BACKENDS, Backend, load_backend
from m2a_core.trt.builder import BuildRequest, build_engine
from m2a_core.trt.source import read_source
from test.export.conftest import SIZE, has_gpu


class FakeTensorRt:
    """As much of TensorRT as a back end needs to be made."""

    class ILogger:
        class Severity:
            INTERNAL_ERROR, ERROR, WARNING = range(3)


def changed(path: Path, to: Path, change) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, to)
    return to


def other_plugin_version(model: onnx.ModelProto) -> None:
    (node,) = [n for n in model.graph.node if n.domain]
    next(a for a in node.attribute if a.name == "plugin_version").s = b"9"


def test_plugin_that_is_not_there_is_named(request_for, exported, tmp_path):
    foreign = changed(exported / "small-bundle.onnx", tmp_path / "version9.onnx", other_plugin_version)
    with pytest.raises(ModelError, match="does not take the graph: .*MSDeformAttn.*Plugin not found"):
        build_engine(request_for(onnx=foreign, out=tmp_path / "a.engine"), print)
    with pytest.raises(ModelError, match=r"none\.so: no such plugin library"):
        build_engine(request_for(plugin=tmp_path / "none.so", out=tmp_path / "a.engine"), print)


def test_library_without_the_plugin_is_refused(request_for, tmp_path):
    backend = load_backend("tensorrt_rtx")
    if backend.creator() is not None:
        backend.creator = lambda: None
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(ModelError, match=r"text\.so: tensorrt_rtx .* does not load plugin MSDeformAttn"):
        backend.load_plugin(text)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"capability": "sm87"}, ConfigError, "capability 'sm87': tensorrt_rtx .* builds for .*sm89"),
        ({"precision": "fp32", "capability": "sm75"}, ModelError, "precision fp32: .* no single-precision .* sm75"),
        ({"input_size": (96, 128)}, ConfigError, "exported for 72x104, not 96x128"),
        ({"batches": (1, 4)}, ConfigError, "exported for batches up to 1, asked for 4; export it with"),
        ({"batches": (0,)}, ConfigError, r"batch \[0\]"),
        ({"precision": "int8"}, ConfigError, "its tensors are fp32, .* no int8 engine .*m2a quantize"),
        ({"frames": []}, ConfigError, "at least one real frame"),
        ({"backend": "onnx"}, ConfigError, "back end 'onnx': expected one of tensorrt, tensorrt_rtx"),
    ],
)
def test_request_that_cannot_be_met_is_refused_in_words(request_for, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        build_engine(request_for(out=tmp_path / "a.engine", **changes), print)
    assert list(tmp_path.iterdir()) == []


def test_plugin_is_compiled_only_for_a_request_that_can_be_met(request_for, plugin, tmp_path, monkeypatch):
    wanted: list[object] = []
    monkeypatch.setattr(builder, "ensure_plugin", lambda **options: wanted.append(options["headers"]) or plugin)
    with pytest.raises(ConfigError, match="not 96x128"):
        build_engine(request_for(out=tmp_path / "a.engine", plugin=None, input_size=(96, 128)), print)
    assert wanted == []


def test_place_that_cannot_be_written_is_named_before_the_build(request_for, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "compile_engine", lambda *_: pytest.fail("built"))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"file/a\.engine: cannot write the engine"):
        build_engine(request_for(out=tmp_path / "file" / "a.engine"), print)
    with pytest.raises(ConfigError, match="is a directory; name the engine's file"):
        build_engine(request_for(out=tmp_path), print)


@pytest.mark.parametrize("name", BACKENDS)
def test_headers_are_fetched_only_for_the_tensorrt_that_is_a_wheel(name, tmp_path, monkeypatch):
    def missing():
        raise ModelError("no headers of TensorRT")

    fetched: list[Path] = []
    monkeypatch.setattr(builder, "find_headers", missing)
    monkeypatch.setattr(builder, "download_headers", fetched.append)
    monkeypatch.setattr(builder, "DOWNLOADED_HEADERS", tmp_path)
    said: list[str] = []
    if name == "tensorrt_rtx":
        assert builder.headers_for(Backend(name, FakeTensorRt), said.append) == tmp_path
        assert "fetching them" in said[0]
        assert fetched == [tmp_path]
    else:
        with pytest.raises(ModelError, match="no headers"):
            builder.headers_for(Backend(name, FakeTensorRt), said.append)
        assert fetched == []


def test_command_without_frames_takes_those_that_ship(exported, tmp_path, monkeypatch):
    requests: list[BuildRequest] = []
    monkeypatch.setattr(builder, "build_engine", lambda request, say: requests.append(request))
    onnx_path, out = exported / "small-bundle.onnx", tmp_path / "a.engine"
    call = ["build-engine", str(onnx_path), "--precision", "fp16", "--size", "72x104", "--batch", "1,2,4",
            "--backend", "tensorrt_rtx", "--capability", "sm89", "--workspace", "512", "--out", str(out)]  # fmt: skip
    assert main(call) == 0
    (request,) = requests
    assert len(request.frames) == 4
    assert min(frame.shape[0] for frame in request.frames) > 100
    assert (request.out, request.input_size, request.batches, request.plugin) == (out, SIZE, (1, 2, 4), None)
    assert request.workspace == 512 * 2**20


def test_without_gpu_the_capability_must_be_named(request_for, tmp_path):
    if has_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(NoGpuError, match="no GPU here: .*--capability"):
        build_engine(request_for(out=tmp_path / "a.engine", capability=None), print)


@pytest.mark.parametrize("name", BACKENDS)
def test_tensorrt_that_is_not_installed_is_named_with_where_it_comes_from(name):
    if importlib.util.find_spec(name) is not None:
        assert load_backend(name).version
    else:
        with pytest.raises(ModelError, match=f"{name} is not installed: (it comes with JetPack|.*pip install)"):
            load_backend(name)


def foreign_producer(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]
    model.producer_name = "another exporter"


def composed_attention(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain:
            node.op_type, node.domain = "Identity", ""


def size_of_words(model: onnx.ModelProto) -> None:
    next(entry for entry in model.metadata_props if entry.key == "m2a.input_size").value = "large"


def batch_of_words(model: onnx.ModelProto) -> None:
    next(entry for entry in model.metadata_props if entry.key == "m2a.max_batch").value = "some"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (size_of_words, "size or batch in its metadata is no number .*export it again"),
        (batch_of_words, "size or batch in its metadata is no number .*'some'"),
        (foreign_producer, "made by 'another exporter', not by this m2a's export .*metadata: none"),
        (composed_attention, "no node m2a::MSDeformAttn in it; .*GridSample"),
    ],
)
def test_graph_that_is_not_ours_is_refused(exported, tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        read_source(changed(exported / "small-bundle.onnx", tmp_path / "foreign.onnx", change))


def test_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ModelError, match="text.onnx: not a readable ONNX file"):
        read_source(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="no such ONNX file"):
        read_source(tmp_path / "none.onnx")


def test_a_tensorrt_for_rtx_that_was_imported_before_is_refused_where_it_would_end_the_process(installed):
    code = "import tensorrt_rtx; from m2a_core.trt.backend import load_backend; load_backend('tensorrt_rtx')"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "imported before m2a" in ended.stderr
