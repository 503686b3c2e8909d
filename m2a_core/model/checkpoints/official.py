"""Name maps of detectron2 state dicts: the authors' Mask2Anomaly and facebookresearch/Mask2Former.

Mask2Former has one attention per decoder layer, Mask2Anomaly two (Eq. 10); everything else bears the same names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from m2a_core.model.checkpoints.names import NameMap, Rule

_HEAD = "sem_seg_head."
_PIXEL = _HEAD + "pixel_decoder."
_DECODER = _HEAD + "predictor."

RESNET = (
    Rule(r"backbone\.stem\.conv\.(.+)", r"backbone.stem.conv1.\1"),
    Rule(r"backbone\.stem\.norm\.(.+)", r"backbone.stem.conv1.norm.\1"),
    Rule(r"backbone\.(res\d\.\d+)\.shortcut\.conv\.(.+)", r"backbone.\1.shortcut.\2"),
    Rule(r"backbone\.(res\d\.\d+)\.shortcut\.norm\.(.+)", r"backbone.\1.shortcut.norm.\2"),
    Rule(r"backbone\.(res\d\.\d+)\.norm(\d)\.(.+)", r"backbone.\1.conv\2.norm.\3"),
    Rule(r"backbone\.(res\d\.\d+\.conv\d\..+)", r"backbone.\1"),
)
SWIN = (
    Rule(r"backbone\.patch_embed\.conv\.(.+)", r"backbone.patch_embed.proj.\1"),
    Rule(r"backbone\.patch_embed\.norm\.(.+)", r"backbone.patch_embed.norm.\1"),
    Rule(
        r"backbone\.stages\.(\d)\.(\d+)\.attention\.bias_table",
        r"backbone.layers.\1.blocks.\2.attn.relative_position_bias_table",
    ),
    Rule(r"backbone\.stages\.(\d)\.(\d+)\.attention\.qkv\.(.+)", r"backbone.layers.\1.blocks.\2.attn.qkv.\3"),
    Rule(r"backbone\.stages\.(\d)\.(\d+)\.attention\.projection\.(.+)", r"backbone.layers.\1.blocks.\2.attn.proj.\3"),
    Rule(r"backbone\.stages\.(\d)\.(\d+)\.expand\.(.+)", r"backbone.layers.\1.blocks.\2.mlp.fc1.\3"),
    Rule(r"backbone\.stages\.(\d)\.(\d+)\.contract\.(.+)", r"backbone.layers.\1.blocks.\2.mlp.fc2.\3"),
    Rule(r"backbone\.stages\.(\d)\.(\d+)\.(norm\d\..+)", r"backbone.layers.\1.blocks.\2.\3"),
    Rule(r"backbone\.merges\.(\d)\.reduce\.(.+)", r"backbone.layers.\1.downsample.reduction.\2"),
    Rule(r"backbone\.merges\.(\d)\.norm\.(.+)", r"backbone.layers.\1.downsample.norm.\2"),
    *(Rule(rf"backbone\.output_norms\.res{i + 2}\.(.+)", rf"backbone.norm{i}.\1") for i in range(4)),
)
PIXEL_DECODER = (
    Rule(r"pixel_decoder\.level_embed", _PIXEL + "transformer.level_embed"),
    Rule(r"pixel_decoder\.layers\.(\d+)\.attention\.(.+)", _PIXEL + r"transformer.encoder.layers.\1.self_attn.\2"),
    Rule(r"pixel_decoder\.layers\.(.+)", _PIXEL + r"transformer.encoder.layers.\1"),
    Rule(r"pixel_decoder\.lateral\.0\.0\.(.+)", _PIXEL + r"adapter_1.\1"),
    Rule(r"pixel_decoder\.lateral\.0\.1\.(.+)", _PIXEL + r"adapter_1.norm.\1"),
    Rule(r"pixel_decoder\.output\.0\.conv\.(.+)", _PIXEL + r"layer_1.\1"),
    Rule(r"pixel_decoder\.output\.0\.norm\.(.+)", _PIXEL + r"layer_1.norm.\1"),
    Rule(r"pixel_decoder\.((?:input_proj|mask_features)\..+)", _PIXEL + r"\1"),
)


def _attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Rules of one ``nn.MultiheadAttention``, which packs q, k and v."""
    packed = tuple(
        Rule(rf"{ours}\.{which}_proj\.(weight|bias)", rf"{theirs}.in_proj_\2", part) for part, which in enumerate("qkv")
    )
    return (*packed, Rule(rf"{ours}\.out_proj\.(.+)", rf"{theirs}.out_proj.\2"))


def _decoder(foreground: str, background: str | None) -> tuple[Rule, ...]:
    layer = r"transformer_decoder\.layers\.(\d+)\."
    cross = _DECODER + r"transformer_cross_attention_layers.\1."
    return (
        Rule(r"transformer_decoder\.query_features", _DECODER + "query_feat.weight"),
        Rule(r"transformer_decoder\.query_position", _DECODER + "query_embed.weight"),
        Rule(r"transformer_decoder\.level_embed", _DECODER + "level_embed.weight"),
        *_attention(layer + r"mask_attention\.foreground", cross + foreground),
        *(_attention(layer + r"mask_attention\.background", cross + background) if background else ()),
        Rule(layer + r"mask_attention\.norm\.(.+)", cross + r"norm.\2"),
        *_attention(layer + "self_attention", _DECODER + r"transformer_self_attention_layers.\1.self_attn"),
        Rule(layer + r"self_norm\.(.+)", _DECODER + r"transformer_self_attention_layers.\1.norm.\2"),
        Rule(layer + r"ffn_norm\.(.+)", _DECODER + r"transformer_ffn_layers.\1.norm.\2"),
        Rule(layer + r"(linear\d\..+)", _DECODER + r"transformer_ffn_layers.\1.\2"),
        Rule(r"transformer_decoder\.norm\.(.+)", _DECODER + r"decoder_norm.\1"),
        Rule(r"transformer_decoder\.class_head\.(.+)", _DECODER + r"class_embed.\1"),
        *(
            Rule(rf"transformer_decoder\.mask_head\.{2 * i}\.(.+)", _DECODER + rf"mask_embed.layers.{i}.\1")
            for i in range(3)
        ),
    )


UNUSED = (
    r"criterion\.empty_weight",
    r".*\.fusion_layer\.(weight|bias)",
    r".*\.relative_position_index",
    r"pixel_(mean|std)",
)
"""Loss weights, a convolution that the released forward never calls, recomputed indices, normalisation."""

OFFICIAL = NameMap(
    "an official Mask2Anomaly checkpoint",
    (*RESNET, *SWIN, *PIXEL_DECODER, *_decoder("multihead_attn_foreground", "multihead_attn_background")),
    UNUSED,
)
"""The authors' checkpoints; a model with masked or cross attention has no place for their background attention."""

MASK2FORMER = NameMap(
    "a Mask2Former checkpoint", (*RESNET, *SWIN, *PIXEL_DECODER, *_decoder("multihead_attn", None)), UNUSED
)
"""Checkpoints of facebookresearch/Mask2Former; a global masked model's background attention is not in them."""


def modernise(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename tensors of the first releases: pixel decoder directly under the head, ``static_query``."""
    renamed = {}
    for name, tensor in state.items():
        new = name.replace("predictor.static_query.", "predictor.query_feat.")
        new = re.sub(r"^sem_seg_head\.(?!pixel_decoder\.|predictor\.)", _PIXEL, new)
        renamed[new] = tensor
    return renamed
