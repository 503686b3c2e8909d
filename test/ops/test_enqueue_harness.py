"""The plugin's enqueue under stream capture, by the GPU benchmark's own program, on an emulated CUDA."""

import shutil

import pytest

from benchmarks.gpu import plugin_steps
from benchmarks.gpu.timing import Device
from m2a_core.ops.compile import find_nvcc

pytestmark = pytest.mark.slow


@pytest.mark.skipif(find_nvcc() is None or not shutil.which("g++"), reason="no nvcc or no g++")
def test_enqueue_equals_the_definition_and_a_captured_one_the_eager_one(tensorrt_headers, monkeypatch):
    monkeypatch.setattr(plugin_steps, "headers_or_skip", lambda _: tensorrt_headers)
    monkeypatch.setattr(plugin_steps, "NAMES", ("edge pyramid", "four levels"))
    built, *rows = plugin_steps.enqueue_captured(Device("cpu"), None)
    assert built["built"]
    names = {(row["name"], row["type"]) for row in rows}
    assert names == {(name, dtype) for name in ("edge pyramid", "four levels") for dtype in ("fp32", "fp16")}
    assert all(row["ok"] and row["replay_equals_eager"] and row["graph_nodes"] == 1 for row in rows), rows
