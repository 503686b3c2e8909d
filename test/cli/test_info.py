"""`m2a info`: counts against sums done by hand."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from m2a_core.cli.main import main  # noqa: E402
from m2a_core.labels.builtin import CAMVID11  # noqa: E402
from m2a_core.model import MODELS, ModelConfig, backbones  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from test.model import official_reference as official  # noqa: E402
from test.model.test_official_equality import small_config  # noqa: E402

UNTRAINED = ("running_mean", "running_var", "num_batches_tracked")


def resnet50_multiply_adds(height: int, width: int) -> int:
    """Bottlenecks with the stride in the 3x3, counted layer by layer."""
    total = 3 * 64 * 49 * (height // 2) * (width // 2)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner, stride = 64 * 2**stage, 4 * 2**stage
        pixels = (height // stride) * (width // stride)
        for block in range(blocks):
            before = pixels * (4 if stage and not block else 1)
            total += inputs * inner * before + 9 * inner * inner * pixels + 4 * inner * inner * pixels
            total += 0 if block else 4 * inputs * inner * pixels
            inputs = 4 * inner
    return total


@pytest.mark.slow
def test_backbone_multiply_adds_are_those_counted_by_hand(capsys):
    assert main(["info", "r50-cityscapes", "--size", "64x128", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)[0]
    assert cost["by_part"]["backbone"] == resnet50_multiply_adds(64, 128)
    assert cost["multiply_adds"] == sum(cost["by_part"].values())
    assert cost["size"] == [64, 128]


@pytest.mark.slow
def test_parameters_are_those_of_the_official_file(capsys):
    shapes = official.official_shapes(official.Sizes())
    counted = {
        name: torch.Size(shape).numel()
        for name, shape in shapes.items()
        if not name.endswith(UNTRAINED) and "fusion_layer" not in name and "criterion" not in name
    }
    assert main(["info", "r50-cityscapes", "--size", "64x64", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)[0]
    assert cost["parameters"] == sum(counted.values())
    assert cost["trainable"] == sum(n for name, n in counted.items() if not name.startswith("backbone."))


@pytest.mark.slow
def test_activation_memory_grows_with_the_input_and_holds_at_least_the_largest_map(monkeypatch, capsys):
    monkeypatch.setitem(backbones.BACKBONES, "small_resnet", lambda: ResNet((2, 2, 2, 2), stem_channels=16))
    monkeypatch.setitem(MODELS, "small", small_config())
    peaks = []
    for size in ("64x64", "128x128"):
        assert main(["info", "small", "--size", size, "--json"]) == 0
        peaks.append(json.loads(capsys.readouterr().out)[0]["activation_bytes"])
    assert peaks[0] >= 16 * 32 * 32 * 4 * 2  # the stem's output and its norm
    assert 3 < peaks[1] / peaks[0] < 5


@pytest.mark.slow
def test_table_lists_every_model(monkeypatch, capsys):
    for name in list(MODELS):
        monkeypatch.delitem(MODELS, name)
    monkeypatch.setitem(MODELS, "one", ModelConfig(name="one", labels=CAMVID11, backbone="efficientnet_lite0"))
    assert main(["info", "all", "--size", "64x64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("at 64x64")
    assert len(lines) == 3
    assert lines[2].startswith("one ")


@pytest.mark.parametrize("size", ["100x100", "0x32", "wide"])
def test_sizes_that_the_network_cannot_take_are_refused(size, capsys):
    assert main(["info", "m2a-edge", "--size", size]) == 2
    assert "size" in capsys.readouterr().err
