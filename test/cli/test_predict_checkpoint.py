"""`m2a predict --checkpoint`: the authors' inference, image by image, against a transcription of it."""

from __future__ import annotations

import dataclasses
import math
import re

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from m2a_core.cli.main import main  # noqa: E402
from m2a_core.labels.builtin import CITYSCAPES19  # noqa: E402
from m2a_core.model import MODELS, backbones  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from test.model import official_reference as official  # noqa: E402
from test.model.test_official_equality import small_config  # noqa: E402

pytestmark = pytest.mark.slow
SIZES = dataclasses.replace(official.SMALL, classes=19)
HEIGHT, WIDTH = 75, 109
"""Not multiples of 32, of 4 or of each other."""

MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


def make_state():
    state = official.random_state(official.official_shapes(SIZES), seed=4)
    # Sure of their classes, so that the refinement's 0.95 is passed.
    state["sem_seg_head.predictor.class_embed.weight"] *= 6
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    state = make_state()
    path = tmp_path_factory.mktemp("checkpoint") / "official.pth"
    torch.save({"model": state, "iteration": 5000}, path)
    return path, official.Reference(state, SIZES)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    coarse = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    path = tmp_path_factory.mktemp("images") / "street.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return path, image


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setitem(backbones.BACKBONES, "small_resnet", lambda: ResNet((2, 2, 2, 2), stem_channels=16))
    monkeypatch.setitem(MODELS, "small", dataclasses.replace(small_config(), labels=CITYSCAPES19))


def predict(tmp_path, picture, checkpoint, *options) -> dict[str, np.ndarray]:
    arguments = ["predict", str(picture[0]), "--model", "small", "--checkpoint", str(checkpoint[0])]
    assert main([*arguments, "--raw", "--out", str(tmp_path), *options]) == 0
    return dict(np.load(tmp_path / "street.npz"))


def official_scores(reference, image, size=None):
    """Released inference of one RGB image: logits, masks, score, refined score, semantic ids."""
    pixels = torch.from_numpy(image.copy()).float()
    normalised = ((pixels - MEAN) / STD).permute(2, 0, 1)
    height, width = image.shape[:2]
    padded = F.pad(normalised, (0, math.ceil(width / 32) * 32 - width, 0, math.ceil(height / 32) * 32 - height))
    with torch.inference_mode():
        logits, masks = (x[0] for x in reference(padded[None])[-1])
    full = F.interpolate(masks[None], size=padded.shape[1:], mode="bilinear", align_corners=False)[0].sigmoid()
    score, label = logits.softmax(-1).max(-1)
    keep = (label != 19) & (score > 0.95) & (label < 11) & (label > 1)
    maps = torch.cat(
        (torch.einsum("qc,qhw->chw", logits.softmax(-1)[:, :-1], full), score[keep][:, None, None] * full[keep])
    )[:, :height, :width]
    if size is not None:
        maps = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    anomaly = 1 - maps[:19].amax(0)
    refined = anomaly
    if int(keep.sum()) > 1:
        refined = anomaly * (1 - (maps[19:].amax(0) >= 0.5).float())
    return logits, masks, anomaly.numpy(), refined.numpy(), maps[:19].argmax(0).numpy()


def close(got, want, limit=3e-4):
    assert got.shape == want.shape
    assert np.abs(got.astype(np.float64) - want).max() <= limit


def test_native_size_gives_the_official_tensors_and_scores(tmp_path, picture, checkpoint, capsys):
    got = predict(tmp_path, picture, checkpoint, "--size", "native")
    logits, masks, anomaly, refined, semantic = official_scores(checkpoint[1], picture[1])
    close(got["class_logits"], logits.numpy())
    close(got["mask_logits"], masks.numpy())
    close(got["anomaly"], anomaly)
    close(got["refined"], refined)
    assert 0.01 < (refined != anomaly).mean() < 0.99
    assert (got["semantic"] == semantic).mean() == 1
    assert "official weights, size native, flip off, refine official" in capsys.readouterr().out


def test_flip_averages_with_the_mirrored_image(tmp_path, picture, checkpoint):
    got = predict(tmp_path, picture, checkpoint, "--flip")
    plain, mirrored = (official_scores(checkpoint[1], image) for image in (picture[1], picture[1][:, ::-1]))
    close(got["anomaly"], (plain[2] + mirrored[2][:, ::-1]) / 2)
    close(got["refined"], (plain[3] + mirrored[3][:, ::-1]) / 2)
    close(got["class_logits"], plain[0].numpy())
    assert np.abs(got["anomaly"] - plain[2]).max() > 1e-2


def test_refinement_can_be_chosen(tmp_path, picture, checkpoint):
    logits, masks, anomaly, official_refined, _ = official_scores(checkpoint[1], picture[1])
    off = predict(tmp_path, picture, checkpoint, "--refine", "off")
    close(off["refined"], anomaly)
    paper = predict(tmp_path, picture, checkpoint, "--refine", "paper")
    full = F.interpolate(masks[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    score, label = logits.softmax(-1).max(-1)
    keep = (score > 0.95) & (label >= 1) & (label <= 10)
    hidden = (full[keep][:, :HEIGHT, :WIDTH] > 0).any(0).numpy()
    differs = np.abs(paper["refined"] - np.where(hidden, 0, anomaly)) > 3e-4
    assert differs.mean() < 1e-3  # a mask logit within rounding of zero may fall on either side
    assert np.abs(paper["refined"] - official_refined).max() > 1e-2


def test_official_size_resizes_like_the_authors_and_returns_to_the_image(tmp_path, picture, checkpoint, monkeypatch):
    from m2a_core.reference import perception as torch_perception

    monkeypatch.setattr(torch_perception, "OFFICIAL_SHORT", 96)
    monkeypatch.setattr(torch_perception, "OFFICIAL_LONG", 130)
    got = predict(tmp_path, picture, checkpoint, "--size", "official")
    channels = torch.from_numpy(picture[1].transpose(2, 0, 1).copy())[None]
    resized = F.interpolate(channels, size=(89, 130), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    _, masks, anomaly, refined, semantic = official_scores(checkpoint[1], resized, (HEIGHT, WIDTH))
    close(got["mask_logits"], masks.numpy())
    close(got["anomaly"], anomaly)
    close(got["refined"], refined)
    assert (got["semantic"] == semantic).mean() == 1


def test_fixed_size_gives_maps_of_the_image(tmp_path, picture, checkpoint):
    got = predict(tmp_path, picture, checkpoint, "--size", "64x128")
    assert got["mask_logits"].shape[1:] == (16, 24)  # 64x93, padded to 64x96
    for name in ("anomaly", "refined", "semantic", "open_set", "panoptic", "unknown_instances"):
        assert got[name].shape == (HEIGHT, WIDTH)
    unknown = got["open_set"] == 19
    assert 0 < unknown.mean() < 1
    np.testing.assert_array_equal(unknown, got["anomaly"] >= 0.5)
    np.testing.assert_array_equal(got["open_set"][~unknown], got["semantic"][~unknown])


def test_converted_weights_give_the_same_result(tmp_path, picture, checkpoint, capsys):
    converted = tmp_path / "w.safetensors"
    assert main(["convert", "--from", "official", str(checkpoint[0]), str(converted), "--model", "small"]) == 0
    first = predict(tmp_path, picture, checkpoint)
    second = predict(tmp_path, picture, (converted, None))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert "refine official" in capsys.readouterr().out.splitlines()[-2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "big"), "size 'big'"),
        (("--size", "31x31"), "expected at least 32 pixels a side"),
        (("--threads", "0"), "threads: expected at least 1"),
        (("--attention", "masked"), "unknown (16)"),
    ],
)
def test_bad_options_are_named_and_write_nothing(tmp_path, picture, checkpoint, capsys, options, message):
    arguments = ["predict", str(picture[0]), "--model", "small", "--checkpoint", str(checkpoint[0])]
    assert main([*arguments, "--out", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [("--require-signature",), ("--trusted-key", "key.pem"), ("--backend", "onnxruntime"), ("--horizon", "on")],
)
def test_options_of_bundles_are_refused_with_a_checkpoint(tmp_path, picture, checkpoint, capsys, options):
    arguments = ["predict", str(picture[0]), "--model", "small", "--checkpoint", str(checkpoint[0])]
    assert main([*arguments, "--out", str(tmp_path), *options]) == 2
    assert f"{options[0]}: only with a bundle" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_options_need_a_checkpoint(tmp_path, picture, capsys):
    assert main(["predict", str(picture[0]), "--flip", "--size", "native", "--out", str(tmp_path)]) == 2
    assert "--size, --flip: only with --checkpoint" in capsys.readouterr().err


def test_masked_attention_weights_ask_for_masked_attention(tmp_path, picture, capsys):
    state = official.random_state(official.official_shapes(SIZES, official.MASKED))
    torch.save({"model": state}, tmp_path / "m2f.pth")
    arguments = ["predict", str(picture[0]), "--model", "small", "--checkpoint", str(tmp_path / "m2f.pth")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "add --attention masked" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "out"), "--attention", "masked"]) == 0
    assert "mask2former weights, size native, flip off, refine paper" in capsys.readouterr().out


def test_an_image_beyond_the_free_memory_is_refused(tmp_path, picture, checkpoint, monkeypatch, capsys):
    from m2a_core.reference import network as torch_runtime

    monkeypatch.setattr(torch_runtime, "free_bytes", lambda: 1 << 20)
    arguments = ["predict", str(picture[0]), "--model", "small", "--checkpoint", str(checkpoint[0])]
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert re.search(r"street\.png: image of \d+x\d+: needs about", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
