"""A real model of timm as backbone, with random weights: nothing is downloaded."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from m2a_core.errors import CheckpointError, ConfigError  # noqa: E402
from m2a_core.export.weights import load_trained  # noqa: E402
from m2a_core.model import MODELS, build_model  # noqa: E402
from m2a_core.model.backbones import build_backbone  # noqa: E402
from m2a_core.model.backbones.timm_features import TimmBackbone  # noqa: E402
from m2a_core.training.build import network_of  # noqa: E402
from m2a_core.training.config import load_config  # noqa: E402
from m2a_core.training.weights import save_weights  # noqa: E402

NAME = "timm/mobilenetv3_small_050"


@pytest.fixture(scope="module", autouse=True)
def timm():
    """timm itself. PyPI's torchvision finds no CUDA libraries beside a CPU build and lacks an operator it asks for."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs the 'timm' extra")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("timm")


def test_features_are_those_of_timm_at_the_four_strides(timm):
    torch.manual_seed(0)
    backbone = build_backbone(NAME).eval()
    assert isinstance(backbone, TimmBackbone)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        features = backbone(image)
        # Its own mean and deviation are ImageNet's: it sees the image as it is.
        expected = backbone.features(image)
    assert [tuple(x.shape[2:]) for x in features.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert {name: x.shape[1] for name, x in features.items()} == backbone.channels
    for got, wanted in zip(features.values(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_models_of_another_mean_see_their_own_range(timm):
    backbone = TimmBackbone("tf_efficientnet_lite0").eval()
    grey = torch.full((1, 3, 32, 32), 0.5)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    )
    seen = (grey - mean) / std * backbone.input_scale + backbone.input_shift
    torch.testing.assert_close(seen, torch.zeros_like(seen), rtol=0, atol=1e-3)


def test_channels_last_features_are_turned(timm):
    backbone = TimmBackbone("swin_s3_tiny_224")
    assert {name: x.shape[1] for name, x in backbone(torch.zeros(1, 3, 224, 224)).items()} == backbone.channels


def test_image_of_another_size_than_the_only_one_is_refused_in_words(timm):
    with pytest.raises(ConfigError, match="'timm/swin_s3_tiny_224' takes images of 224x224 alone, got 64x96"):
        TimmBackbone("swin_s3_tiny_224")(torch.zeros(1, 3, 64, 96))


def test_weights_of_a_file_are_taken_and_a_missing_one_is_named(timm, tmp_path):
    path = tmp_path / "weights.pth"
    donor = timm.create_model(NAME.removeprefix("timm/"))
    torch.save(donor.state_dict(), path)
    backbone = TimmBackbone(NAME.removeprefix("timm/"))
    backbone.load_pretrained(path)
    assert torch.equal(backbone.state_dict()["features.conv_stem.weight"], donor.conv_stem.weight)
    with pytest.raises(CheckpointError, match="missing.pth"):
        backbone.load_pretrained(tmp_path / "missing.pth")


class Code:
    """Pickled as a call that makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_code_in_a_file_of_weights_is_not_run(timm, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": Code(tmp_path / "it ran")}, path)
    with pytest.raises(CheckpointError, match="weights.pth: holds more than tensors"):
        TimmBackbone(NAME.removeprefix("timm/")).load_pretrained(path)
    assert not (tmp_path / "it ran").exists()


def test_file_without_weights_is_refused_and_none_are_downloaded_for_it(timm, tmp_path):
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="weights.pth: holds no tensors"):
        TimmBackbone(NAME.removeprefix("timm/")).load_pretrained(tmp_path / "weights.pth")


def test_averaged_weights_of_a_training_run_are_preferred(timm, tmp_path):
    path = tmp_path / "weights.pth"
    donors = [timm.create_model(NAME.removeprefix("timm/")) for _ in range(2)]
    kept = {"state_dict": donors[0].state_dict(), "state_dict_ema": donors[1].state_dict(), "args": Namespace(lr=0.1)}
    torch.save(kept, path)
    backbone = TimmBackbone(NAME.removeprefix("timm/"))
    backbone.load_pretrained(path)
    assert torch.equal(backbone.state_dict()["features.conv_stem.weight"], donors[1].conv_stem.weight)


@pytest.mark.parametrize(
    ("name", "said"), [("timm/no_such_model", "no_such_model"), ("timm/vit_tiny_patch16_224", "strides")]
)
def test_models_that_do_not_serve_are_refused_by_name(name, said):
    with pytest.raises(ConfigError, match=said):
        build_backbone(name)


def test_a_configuration_names_it_and_weights_remember_it(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        f"name: run\nmodel: {{backbone: {NAME}, name: m2a-edge}}\nstages: [{{name: known, iterations: 1}}]\n"
        "data: {dataset: roads, mix: {camvid: 1}}\n"
    )
    network = network_of(load_config(path))
    assert (network.name, network.backbone) == ("m2a-edge", NAME)
    model = build_model(network)
    save_weights(model.state_dict(), network, tmp_path / "w.safetensors", {})
    loaded, metadata = load_trained(tmp_path / "w.safetensors", "m2a-edge")
    assert json.loads(metadata["config"])["backbone"] == loaded.config.backbone == NAME
    assert MODELS["m2a-edge"].backbone == "efficientnet_lite0"
    path.write_text(path.read_text().replace("name: m2a-edge", "seed: 3"))
    with pytest.raises(ConfigError, match="unknown key 'model.seed'"):
        load_config(path)
