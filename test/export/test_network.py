"""The module that is exported, against its steps done by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from m2a_core.contract.io_spec import OUTPUTS, RAW_OUTPUTS
from m2a_core.errors import ConfigError
from m2a_core.export.network import ExportedNetwork
from test.export.conftest import SIZE, pictures, small_network


@torch.no_grad()
def test_image_is_normalised_then_padded_with_zeros_right_and_below():
    network = small_network()
    image = torch.from_numpy(pictures(1)[0])
    mean = torch.tensor([123.675, 116.28, 103.53])
    std = torch.tensor([58.395, 57.12, 57.375])
    padded = torch.zeros(1, 3, 96, 128)
    padded[0, :, :72, :104] = ((image.double() - mean) / std).permute(2, 0, 1)
    expected = network.model(padded)
    *_, class_logits, mask_logits = network(image[None])
    torch.testing.assert_close(class_logits, expected.class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mask_logits, expected.mask_logits[..., :18, :26], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_maps_are_those_of_the_equations():
    """Eqs. 5, 7 and 17: the masks of the padded image are upsampled, then sigmoid and sum, then the padding is cut."""
    network = ExportedNetwork(small_network().model, SIZE, score_order="paper").eval()
    image = torch.from_numpy(pictures(1)[0])[None]
    padded_masks: list[torch.Tensor] = []
    network.model.register_forward_hook(lambda module, inputs, out: padded_masks.append(out.mask_logits))
    anomaly, _, semantic, background, winner, masks, probs, class_logits, mask_logits = network(image)
    known = class_logits.double().softmax(-1)[..., :-1]
    full = F.interpolate(padded_masks[0].double(), size=(96, 128), mode="bilinear", align_corners=False)
    full = full[..., : SIZE[0], : SIZE[1]].sigmoid()
    scores = torch.einsum("bqk,bqhw->bkhw", known, full)
    torch.testing.assert_close(anomaly.double(), 1 - scores.amax(1), atol=1e-5, rtol=0)
    assert (semantic == scores.argmax(1)).double().mean() > 0.999
    claims = known.amax(-1)[..., None, None]
    torch.testing.assert_close(background.double(), 1 - (claims * full).amax(1), atol=1e-5, rtol=0)
    small = claims * mask_logits.double().sigmoid()
    assert (winner == small.argmax(1)).double().mean() > 0.999
    assert torch.equal(masks, mask_logits >= 0)
    torch.testing.assert_close(probs.sum(-1), torch.ones(1, 5))


@torch.no_grad()
def test_outputs_are_those_of_the_contract():
    values = small_network()(torch.from_numpy(pictures(1)[0])[None])
    sizes = {"B": 1, "H": 72, "W": 104, "h": 18, "w": 26, "Q": 5, "K+1": 4}
    for spec, value in zip(OUTPUTS + RAW_OUTPUTS, values, strict=True):
        assert str(value.dtype) == f"torch.{spec.dtype}", spec.name
        assert value.shape == tuple(sizes[axis] for axis in spec.shape), spec.name


@pytest.mark.parametrize("size", [(70, 104), (72, 102), (28, 104), (0, 104)])
def test_size_that_the_masks_cannot_cover_is_refused(size):
    with pytest.raises(ConfigError, match="multiples of 4"):
        ExportedNetwork(small_network().model, size)
