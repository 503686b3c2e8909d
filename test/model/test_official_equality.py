"""Our network against the official behaviour (two attentions, empty rows, 0.5 in both, order of interpolation)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from m2a_core.labels.builtin import CAMVID11  # noqa: E402
from m2a_core.model import ModelConfig, backbones, build_model  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from m2a_core.model.checkpoints.convert import load_foreign  # noqa: E402
from m2a_core.model.mask_attention import MaskAttention  # noqa: E402
from test.model import official_reference as official  # noqa: E402
from test.model.official_reference import GLOBAL_MASKED, MASKED, SMALL, Reference  # noqa: E402

pytestmark = pytest.mark.slow
SIZE = (96, 160)


def small_config(attention: str = "global_masked") -> ModelConfig:
    return ModelConfig(
        name="small",
        labels=CAMVID11,
        backbone="small_resnet",
        hidden_dim=64,
        num_heads=4,
        num_queries=12,
        encoder_layers=2,
        encoder_ffn=96,
        decoder_layers=4,
        decoder_ffn=80,
        attention=attention,
        mask_dim=32,
    )


@pytest.fixture
def small_resnet(monkeypatch):
    monkeypatch.setitem(backbones.BACKBONES, "small_resnet", lambda: ResNet((2, 2, 2, 2), stem_channels=16))


def errors(state, model, dtype, path) -> list[float]:
    torch.save({"model": state, "iteration": 5000}, path)
    load_foreign(model, path)
    model = model.eval().to(dtype)
    image = torch.randn((2, 3, *SIZE), generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    reference = Reference({name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}, SMALL)
    with torch.inference_mode():
        want, got = reference(image), model(image, all_layers=True)
    used = torch.cat([mask.flatten(0, 1).any(-1) for mask in reference.masks_used])
    assert not used.all()  # some query somewhere has an empty foreground or background and looks everywhere
    assert used.any()
    layers = [*got.aux, (got.class_logits, got.mask_logits)]
    assert len(want) == len(layers) == SMALL.layers + 1
    return [
        float((a - b).abs().max() / a.abs().max())
        for expected, actual in zip(want, layers, strict=True)
        for a, b in zip(expected, actual, strict=True)
    ]


@pytest.mark.parametrize(("attentions", "kind"), [(GLOBAL_MASKED, "global_masked"), (MASKED, "masked")])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_every_layer_equals_the_official_behaviour(small_resnet, tmp_path, attentions, kind, dtype, limit):
    state = official.random_state(official.official_shapes(SMALL, attentions))
    assert max(errors(state, build_model(small_config(kind)), dtype, tmp_path / "model.pth")) <= limit


def test_background_attention_changes_the_result():
    """Guards the test above: without Eq. 10's second term it would not notice."""
    state = official.random_state(official.official_shapes())
    changed = {name: tensor * 1.5 if "background.out_proj.weight" in name else tensor for name, tensor in state.items()}
    image = torch.randn((1, 3, *SIZE), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        first, second = (Reference(s, SMALL)(image)[-1][0] for s in (state, changed))
    assert (first - second).abs().max() > 1e-2


def test_a_pixel_at_one_half_is_foreground_and_background():
    torch.manual_seed(0)
    attention = MaskAttention(32, 2, "global_masked").double().eval()
    query, memory = torch.randn(1, 3, 32, dtype=torch.float64), torch.randn(1, 4, 32, dtype=torch.float64)
    zero = torch.zeros_like(memory)
    for logits, (foreground, background) in (
        ([0.0, 0.0, 0.0, 0.0], ([0, 1, 2, 3], [0, 1, 2, 3])),
        ([5.0, 0.0, -5.0, -5.0], ([0, 1], [1, 2, 3])),
        ([5.0, 5.0, 5.0, 5.0], ([0, 1, 2, 3], [0, 1, 2, 3])),
        ([-5.0, -5.0, -5.0, -5.0], ([0, 1, 2, 3], [0, 1, 2, 3])),
        ([5.0, 5.0, 5.0, -5.0], ([0, 1, 2], [3])),
    ):
        mask = torch.tensor(logits, dtype=torch.float64).expand(1, 3, 4)
        assert attention.background is not None
        want = attention.norm(
            query
            + attention.foreground(query, memory[:, foreground], memory[:, foreground])
            + attention.background(query, memory[:, background], memory[:, background])
        )
        got = attention(query, torch.zeros_like(query), memory, zero, mask)
        assert torch.allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("file", "shapes"),
    [
        ("official_r50_cityscapes_shapes.json", official.official_shapes(official.Sizes())),
        (
            "official_swinb_streethazards_shapes.json",
            official.swin_shapes(128, (2, 2, 18, 2), (4, 8, 16, 32), 12)
            | official.head_shapes(official.Sizes(classes=12), (128, 256, 512, 1024), GLOBAL_MASKED),
        ),
    ],
)
def test_the_reference_names_are_those_of_the_official_files(file, shapes):
    """Needs lists of names and shapes taken from the official files: M2A_OFFICIAL_SHAPES names their directory."""
    directory = os.environ.get("M2A_OFFICIAL_SHAPES")
    if not directory:
        pytest.skip("M2A_OFFICIAL_SHAPES is not set")
    assert shapes == json.loads((Path(directory) / file).read_text())
