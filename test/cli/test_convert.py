"""`m2a convert`: one line in, one file out or none."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from m2a_core.bundle.loading import sha256_of  # noqa: E402
from m2a_core.cli.main import main  # noqa: E402
from m2a_core.model import MODELS, backbones  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from m2a_core.model.checkpoints.reading import read_metadata  # noqa: E402
from test.model import official_reference as official  # noqa: E402
from test.model.test_official_equality import small_config  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setitem(backbones.BACKBONES, "small_resnet", lambda: ResNet((2, 2, 2, 2), stem_channels=16))
    monkeypatch.setitem(MODELS, "small", small_config())


def save(path, attentions):
    torch.save({"model": official.random_state(official.official_shapes(official.SMALL, attentions))}, path)
    return str(path)


def test_manifest_says_where_the_weights_came_from(tmp_path, capsys):
    source, out = save(tmp_path / "best.pth", official.GLOBAL_MASKED), tmp_path / "w.safetensors"
    assert main(["convert", "--from", "official", source, str(out), "--model", "small"]) == 0
    manifest = json.loads(read_metadata(out)["m2a"])
    assert manifest["source"] == "best.pth"
    assert manifest["source_sha256"] == sha256_of(tmp_path / "best.pth")
    assert manifest["kind"] == "official"
    assert manifest["initialised_anew"] == []
    assert (manifest["model"], manifest["attention"], manifest["num_classes"]) == ("small", "global_masked", 11)
    printed = capsys.readouterr().out
    assert manifest["weights_sha256"] in printed
    assert "9 unused here and skipped" in printed


def test_what_is_initialised_anew_is_stated_and_repeatable(tmp_path, capsys):
    source = save(tmp_path / "m2f.pth", official.MASKED)
    for name in ("a", "b"):
        out = str(tmp_path / f"{name}.safetensors")
        assert main(["convert", "--from", "mask2former", source, out, "--model", "small"]) == 0
    assert "initialised (32 tensors): transformer_decoder.layers.*.mask_attention.background" in (
        capsys.readouterr().out
    )
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_masked_attention_needs_nothing_anew(tmp_path, capsys):
    source, out = save(tmp_path / "m2f.pth", official.MASKED), tmp_path / "w.safetensors"
    arguments = ["convert", "--from", "mask2former", source, str(out), "--model", "small", "--attention", "masked"]
    assert main(arguments) == 0
    assert "initialised" not in capsys.readouterr().out
    assert json.loads(read_metadata(out)["m2a"])["attention"] == "masked"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("official", "in.pth", "out.pth", "small"), "ends in .safetensors"),
        (("official", "in.pth", "out.safetensors", "nothing"), "model 'nothing': expected one of"),
        (("official", "none.pth", "out.safetensors", "small"), "none.pth: no such file"),
        (("hf", "in.pth", "out.safetensors", "small"), "does not fit as a Hugging Face Mask2Former checkpoint"),
        (("official", "in.pth", "out.safetensors", "m2a-edge"), "does not fit as an official"),
    ],
)
def test_errors_are_named_and_nothing_is_written(tmp_path, capsys, arguments, message):
    source, read, out, model = arguments
    save(tmp_path / "in.pth", official.GLOBAL_MASKED)
    assert main(["convert", "--from", source, str(tmp_path / read), str(tmp_path / out), "--model", model]) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["in.pth"]
