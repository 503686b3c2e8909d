"""An FPN narrower than the encoder: for masks alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="networks need the 'train' extra")

from m2a_core.errors import ConfigError  # noqa: E402
from m2a_core.model import build_model  # noqa: E402
from test.tiny_network import TINY  # noqa: E402

NARROW = replace(
    TINY,
    name="narrow",
    hidden_dim=64,
    num_queries=7,
    encoder_ffn=64,
    fpn_dim=32,
    decoder_levels=2,
    decoder_ffn=64,
    mask_dim=32,
)


@pytest.mark.slow
def test_masks_come_from_the_narrow_levels_and_queries_see_the_wide_ones():
    model = build_model(NARROW).eval()
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, 64, 96))
        pixels = model.pixel_decoder(features)
        output = model.decode(features)
    assert [tuple(x.shape[1:]) for x in pixels.levels] == [(64, 2, 3), (64, 4, 6)]
    assert pixels.mask_features.shape == (1, 32, 16, 24)
    assert output.mask_logits.shape == (1, 7, 16, 24)
    assert {
        tuple(w.shape[:2]) for n, w in model.pixel_decoder.output.named_parameters() if n.endswith("conv.weight")
    } == {(32, 32)}


def test_an_fpn_of_the_encoders_width_has_the_weights_it_had_before():
    plain, same = (set(build_model(replace(NARROW, fpn_dim=dim)).state_dict()) for dim in (None, 64))
    assert plain == same
    assert not any("reduce" in name for name in plain)


@pytest.mark.parametrize("changes", [{"fpn_dim": 40}, {"decoder_levels": 3}])
def test_what_does_not_fit_is_named(changes):
    with pytest.raises(ConfigError, match=r"'narrow': fpn_dim must be a multiple of 32"):
        replace(NARROW, **changes)
