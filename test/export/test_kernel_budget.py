"""What TensorRT makes of the shipped network: number of kernels, bytes of activations, fusions that must hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kernel_list import Kernel, list_kernels, parse_kernels
from m2a_core.bundle.loading import load_bundle
from m2a_core.model import MODELS

NETWORK = "m2a-edge"
KERNELS = 240
MEGABYTES = 210.0
"""A few per cent above what TensorRT for RTX 1.7 gives: 204.5 MB for half precision at 320x576."""


@pytest.fixture(scope="module")
def kernels(plugin: Path) -> list[Kernel]:
    return list_kernels(load_bundle(NETWORK).onnx_path, "fp16", plugin)


@pytest.mark.slow
def test_shipped_network_stays_within_its_budget(kernels):
    assert len(kernels) <= KERNELS
    assert sum(kernel.bytes for kernel in kernels) <= MEGABYTES * 1e6


@pytest.mark.slow
def test_every_attention_of_the_decoder_is_one_fused_kernel(kernels):
    # A layer attends to foreground, to background and to its own queries.
    assert sum("_mha_" in kernel.name for kernel in kernels) == 3 * MODELS[NETWORK].decoder_layers


@pytest.mark.slow
def test_plugin_takes_and_gives_tensors_of_matrix_products_without_a_copy_between(kernels):
    plugins = [kernel for kernel in kernels if kernel.kind == "custom_layer"]
    assert len(plugins) == MODELS[NETWORK].encoder_layers
    made_by = {name: kernel for kernel in kernels for name, _ in kernel.outputs}
    for plugin in plugins:
        assert {made_by[name].kind for name, _ in plugin.inputs} <= {"gemm", "runtime_fusion"}
        ((result, _),) = plugin.outputs
        assert {k.kind for k in kernels if result in dict(k.inputs)} == {"gemm"}


@pytest.mark.slow
def test_no_largest_entry_is_found_by_sorting(kernels):
    assert not [kernel.name for kernel in kernels if "topk" in kernel.name.lower()]


def tensor(name: str, dimensions: str, kind: str) -> str:
    return (
        f"{{ Name: {name}, Dimensions: [{dimensions}], Strides: [9], StrideOrder: [1,0], Datatype: {kind}, Format: x }}"
    )


def test_messages_are_read():
    line = (
        f"Name: a gemm_1, LayerType: gemm, Inputs: [ {tensor('x', '1,3,4', 'Half')}, {tensor('y', '', 'Float')}], "
        f"Constants: [ {tensor('w', '99', 'Float')}], Outputs: [ {tensor('z', '2,2', 'Int32')}], TacticName: t"
    )
    (kernel,) = parse_kernels(["Layers:", f"noise\n{line}\nmore", "Name: x"])
    assert kernel == Kernel("a gemm_1", "gemm", [("x", 24), ("y", 4)], [("z", 16)])
    assert kernel.bytes == 44
