"""Finding and checking bundles; every way in which one can be wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import m2a_core.bundle.loading as bundle_module
from m2a_core.bundle.digest import KEY, digest_of
from m2a_core.bundle.loading import load_bundle
from m2a_core.bundle.manifest import Manifest, Thresholds
from m2a_core.errors import ConfigError, ModelError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from test.tiny_bundle import write_tiny_bundle


@pytest.fixture
def directory(tmp_path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")


def change(directory: Path, *keys: str | int, to: object = None, drop: bool = False) -> None:
    """Set or delete one entry of the manifest."""
    path = directory / "manifest.json"
    data = json.loads(path.read_text())
    target = data
    for key in keys[:-1]:
        target = target[key]
    if drop:
        del target[keys[-1]]
    else:
        target[keys[-1]] = to
    path.write_text(json.dumps(data if keys[0] == KEY else {**data, KEY: digest_or_nothing(data)}))


def digest_or_nothing(data: dict) -> str:
    try:
        return digest_of(data)
    except ValueError:
        return ""


@pytest.mark.parametrize("labels", [CAMVID11, CITYSCAPES19], ids=lambda labels: labels.name)
def test_manifest_survives_writing_and_reading(tmp_path, labels):
    thresholds = Thresholds(anomaly=-0.25, refined=0.3, background=0.4, min_area=0.0)
    directory = write_tiny_bundle(tmp_path / "b", labels=labels, thresholds=thresholds)
    manifest = load_bundle(directory).manifest
    assert manifest.labels == labels
    assert manifest.thresholds == thresholds
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_bundle_is_found_by_directory_file_and_name(directory, monkeypatch):
    monkeypatch.setattr(bundle_module, "engine_directories", lambda: (directory.parent / "none", directory.parent))
    expected = directory / "tiny.onnx"
    assert load_bundle(directory).onnx_path == expected
    assert load_bundle(str(directory / "tiny.onnx")).onnx_path == expected
    assert load_bundle("tiny").onnx_path == expected


def test_name_is_looked_up_beside_the_package_and_below_the_prefix():
    places = bundle_module.engine_directories()
    assert places[0] == Path(bundle_module.__file__).parents[2] / "engines"
    assert all(place.parts[-3:] == ("share", "m2a_ros", "engines") for place in places[1:])


def test_unknown_name_lists_what_there_is(directory, monkeypatch):
    monkeypatch.setattr(bundle_module, "engine_directories", lambda: (directory.parent,))
    with pytest.raises(ModelError, match=r"model 'nope'.*known bundles: tiny"):
        load_bundle("nope")


@pytest.mark.parametrize(
    "name", ["x" * 5_000, "a\nb", "a\0b", f"{'x' * 5_000}.onnx", "", "/dev/zero", "/dev/zero/x.onnx"]
)
def test_names_of_any_kind_are_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_bundle(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize("change_bytes", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b + b"\0"])
def test_graph_with_another_hash_is_refused(directory, change_bytes):
    path = directory / "tiny.onnx"
    path.write_bytes(change_bytes(path.read_bytes()))
    with pytest.raises(ModelError, match=r"tiny\.onnx: SHA-256 is .* the manifest says"):
        load_bundle(directory)


def test_missing_graph_is_named(directory):
    (directory / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx: the manifest names this graph but there is no such file"):
        load_bundle(directory)


def test_graph_that_keeps_tensors_in_other_files_is_refused(directory):
    model = onnx.load(directory / "tiny.onnx")
    tensor = onnx.numpy_helper.from_array(np.zeros(300, np.float32), "aside")
    model.graph.initializer.append(tensor)
    onnx.save(model, directory / "tiny.onnx", save_as_external_data=True, location="aside.bin", size_threshold=1000)
    digest = hashlib.sha256((directory / "tiny.onnx").read_bytes()).hexdigest()
    change(directory, "onnx", "sha256", to=digest)
    with pytest.raises(ModelError, match=r"tiny\.onnx: keeps tensors in other files"):
        load_bundle(directory)


def test_what_is_loaded_is_what_was_hashed(directory):
    bundle = load_bundle(directory)
    (directory / "tiny.onnx").write_bytes(b"another graph")
    with pytest.raises(ModelError, match=r"tiny\.onnx: SHA-256 is"):
        OnnxRuntime(bundle)


def test_graph_without_manifest_is_refused(directory):
    (directory / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"manifest\.json: cannot read the manifest"):
        load_bundle(directory / "tiny.onnx")


def test_graph_that_the_manifest_does_not_describe_is_refused(directory):
    (directory / "other.onnx").write_bytes((directory / "tiny.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"other\.onnx: the manifest beside it describes 'tiny\.onnx'"):
        load_bundle(directory / "other.onnx")


@pytest.mark.parametrize("name", ["../tiny.onnx", "/etc/passwd", ""])
def test_graph_outside_the_bundle_is_refused(directory, name):
    change(directory, "onnx", "file", to=name)
    with pytest.raises(ModelError, match="expected a plain file name"):
        load_bundle(directory)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_manifest_of_another_version_is_refused(directory, version):
    change(directory, "format_version", to=version)
    with pytest.raises(ModelError, match=f"format_version is {version!r}, this m2a reads 1"):
        load_bundle(directory)


@pytest.mark.parametrize("text", ["", "{", "[]", "1"])
def test_manifest_that_is_no_json_object_is_refused(directory, text):
    (directory / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: (not JSON|expected a JSON object)"):
        load_bundle(directory)


def test_manifest_that_is_nested_without_end_is_refused(directory):
    (directory / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match=r"manifest\.json: not JSON"):
        load_bundle(directory)


def test_manifest_that_never_ends_is_refused(directory):
    path = directory / "manifest.json"
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=r"manifest\.json: cannot read the manifest .*not a regular file"):
        Manifest.load(path)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("thresholds", "anomaly"), 10**400),
        (("num_queries",), 10**400),
        (("normalization", "mean"), [10**400, 1, 1]),
        (("onnx", "file"), "a\0b"),
        (("name",), "a\0b"),
        (("name",), "a\nb"),
        (("license",), [["x" * 10**6] * 3]),
        (("onnx", "file"), "../" + "x" * 10**6),
    ],
    ids=lambda value: str(value)[:30],
)
def test_manifest_of_extreme_values_is_refused_in_few_words(directory, keys, value):
    change(directory, *keys, to=value)
    with pytest.raises(ModelError, match=r"manifest\.json: ") as refused:
        load_bundle(directory)
    assert len(str(refused.value)) < 500 + len(str(directory))


@pytest.mark.parametrize(
    "keys",
    [("name",), ("onnx", "sha256"), ("thresholds", "overlap"), ("labels", "road"), ("labels", "classes", 0, "thing")],
    ids=str,
)
def test_missing_key_is_named(directory, keys):
    change(directory, *keys, drop=True)
    with pytest.raises(ModelError, match=rf"missing: \['{keys[-1]}'\]"):
        load_bundle(directory)


@pytest.mark.parametrize("keys", [("extra",), ("thresholds", "extra"), ("labels", "classes", 2, "extra")], ids=str)
def test_unknown_key_is_named(directory, keys):
    change(directory, *keys, to=1)
    with pytest.raises(ModelError, match=r"unknown: \['extra'\]"):
        load_bundle(directory)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("input_size",), [96], "expected 2 numbers"),
        (("input_size",), [96, 128.5], "expected int"),
        (("num_queries",), "12", "'num_queries' is '12', expected int"),
        (("num_queries",), True, "expected int"),
        (("thresholds", "anomaly"), "high", "'anomaly' is 'high', expected float"),
        (("thresholds", "anomaly"), float("nan"), "threshold 'anomaly': expected a finite number"),
        (("thresholds", "overlap"), 1.5, r"threshold 'overlap': expected a number in \[0, 1\], got 1.5"),
        (("labels", "road"), "motorway", "labels.road is 'motorway'"),
        (("labels", "classes", 1, "name"), "sky", "distinct names"),
        (("labels", "classes", 1), 7, r"labels\.classes\[1\] is not an object"),
        (("normalization", "std"), [1, 2], "expected 3 numbers"),
    ],
)
def test_value_that_does_not_fit_is_named(directory, keys, value, message):
    change(directory, *keys, to=value)
    with pytest.raises(ModelError, match=message):
        load_bundle(directory)


def test_thresholds_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="keep_score"):
        Thresholds(anomaly=0.5, refined=0.5, keep_score=-0.1)


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".."])
def test_a_name_that_leaves_its_folder_is_refused(directory, name):
    change(directory, "name", to=name)
    with pytest.raises(ModelError, match="expected one without folders"):
        load_bundle(directory)
