"""Name map of Hugging Face `transformers`' ``Mask2FormerForUniversalSegmentation`` with Swin or ResNet.

Files on disk keep the names of transformers 4, which this map uses; transformers 5 renames Swin in memory only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from m2a_core.model.checkpoints.names import NameMap, Rule

_PIXEL = "model.pixel_level_module.decoder."
_BACKBONE = "model.pixel_level_module.encoder."
_DECODER = "model.transformer_module."
_LAYER = r"transformer_decoder\.layers\.(\d+)\."
_THEIR_LAYER = _DECODER + r"decoder.layers.\1."

_SWIN_BLOCK = r"backbone\.stages\.(\d)\.(\d+)\."
_THEIR_BLOCK = _BACKBONE + r"encoder.layers.\1.blocks.\2."
SWIN = (
    Rule(r"backbone\.patch_embed\.conv\.(.+)", _BACKBONE + r"embeddings.patch_embeddings.projection.\1"),
    Rule(r"backbone\.patch_embed\.norm\.(.+)", _BACKBONE + r"embeddings.norm.\1"),
    Rule(_SWIN_BLOCK + r"attention\.bias_table", _THEIR_BLOCK + "attention.self.relative_position_bias_table"),
    Rule(
        _SWIN_BLOCK + r"attention\.qkv\.(.+)",
        tuple(_THEIR_BLOCK + rf"attention.self.{which}.\3" for which in ("query", "key", "value")),
    ),
    Rule(_SWIN_BLOCK + r"attention\.projection\.(.+)", _THEIR_BLOCK + r"attention.output.dense.\3"),
    Rule(_SWIN_BLOCK + r"expand\.(.+)", _THEIR_BLOCK + r"intermediate.dense.\3"),
    Rule(_SWIN_BLOCK + r"contract\.(.+)", _THEIR_BLOCK + r"output.dense.\3"),
    Rule(_SWIN_BLOCK + r"norm1\.(.+)", _THEIR_BLOCK + r"layernorm_before.\3"),
    Rule(_SWIN_BLOCK + r"norm2\.(.+)", _THEIR_BLOCK + r"layernorm_after.\3"),
    Rule(r"backbone\.merges\.(\d)\.reduce\.(.+)", _BACKBONE + r"encoder.layers.\1.downsample.reduction.\2"),
    Rule(r"backbone\.merges\.(\d)\.norm\.(.+)", _BACKBONE + r"encoder.layers.\1.downsample.norm.\2"),
    *(
        Rule(rf"backbone\.output_norms\.res{i + 2}\.(.+)", _BACKBONE + rf"hidden_states_norms.stage{i + 1}.\1")
        for i in range(4)
    ),
)

RESNET = (
    Rule(r"backbone\.stem\.conv\.(.+)", _BACKBONE + r"embedder.embedder.convolution.\1"),
    Rule(r"backbone\.stem\.norm\.(.+)", _BACKBONE + r"embedder.embedder.normalization.\1"),
    *(
        rule
        for stage in range(4)
        for ours, theirs in (
            (rf"backbone\.res{stage + 2}\.(\d+)\.", _BACKBONE + rf"encoder.stages.{stage}.layers.\1."),
        )
        for rule in (
            Rule(ours + r"shortcut\.conv\.(.+)", theirs + r"shortcut.convolution.\2"),
            Rule(ours + r"shortcut\.norm\.(.+)", theirs + r"shortcut.normalization.\2"),
            *(Rule(ours + rf"conv{i + 1}\.(.+)", theirs + rf"layer.{i}.convolution.\2") for i in range(3)),
            *(Rule(ours + rf"norm{i + 1}\.(.+)", theirs + rf"layer.{i}.normalization.\2") for i in range(3)),
        )
    ),
)

PIXEL_DECODER = (
    Rule(r"pixel_decoder\.level_embed", _PIXEL + "level_embed"),
    Rule(r"pixel_decoder\.input_proj\.(.+)", _PIXEL + r"input_projections.\1"),
    Rule(r"pixel_decoder\.mask_features\.(.+)", _PIXEL + r"mask_projection.\1"),
    Rule(r"pixel_decoder\.lateral\.0\.(.+)", _PIXEL + r"adapter_1.\1"),
    Rule(r"pixel_decoder\.output\.0\.conv\.(.+)", _PIXEL + r"layer_1.0.\1"),
    Rule(r"pixel_decoder\.output\.0\.norm\.(.+)", _PIXEL + r"layer_1.1.\1"),
    Rule(r"pixel_decoder\.layers\.(\d+)\.attention\.(.+)", _PIXEL + r"encoder.layers.\1.self_attn.\2"),
    Rule(r"pixel_decoder\.layers\.(\d+)\.norm1\.(.+)", _PIXEL + r"encoder.layers.\1.self_attn_layer_norm.\2"),
    Rule(r"pixel_decoder\.layers\.(\d+)\.linear(\d)\.(.+)", _PIXEL + r"encoder.layers.\1.fc\2.\3"),
    Rule(r"pixel_decoder\.layers\.(\d+)\.norm2\.(.+)", _PIXEL + r"encoder.layers.\1.final_layer_norm.\2"),
)

DECODER = (
    Rule(r"transformer_decoder\.query_features", _DECODER + "queries_features.weight"),
    Rule(r"transformer_decoder\.query_position", _DECODER + "queries_embedder.weight"),
    Rule(r"transformer_decoder\.level_embed", _DECODER + "level_embed.weight"),
    *(
        Rule(_LAYER + rf"mask_attention\.foreground\.{which}_proj\.(.+)", _THEIR_LAYER + r"cross_attn.in_proj_\2", part)
        for part, which in enumerate("qkv")
    ),
    Rule(_LAYER + r"mask_attention\.foreground\.out_proj\.(.+)", _THEIR_LAYER + r"cross_attn.out_proj.\2"),
    Rule(_LAYER + r"mask_attention\.norm\.(.+)", _THEIR_LAYER + r"cross_attn_layer_norm.\2"),
    Rule(_LAYER + r"self_attention\.(.+)", _THEIR_LAYER + r"self_attn.\2"),
    Rule(_LAYER + r"self_norm\.(.+)", _THEIR_LAYER + r"self_attn_layer_norm.\2"),
    Rule(_LAYER + r"linear(\d)\.(.+)", _THEIR_LAYER + r"fc\2.\3"),
    Rule(_LAYER + r"ffn_norm\.(.+)", _THEIR_LAYER + r"final_layer_norm.\2"),
    Rule(r"transformer_decoder\.norm\.(.+)", _DECODER + r"decoder.layernorm.\1"),
    Rule(r"transformer_decoder\.class_head\.(.+)", r"class_predictor.\1"),
    *(
        Rule(
            rf"transformer_decoder\.mask_head\.{2 * i}\.(.+)",
            _DECODER + rf"decoder.mask_predictor.mask_embedder.{i}.0.\1",
        )
        for i in range(3)
    ),
)

HUGGINGFACE = NameMap(
    "a Hugging Face Mask2Former checkpoint",
    (*SWIN, *RESNET, *PIXEL_DECODER, *DECODER),
    (r"criterion\.empty_weight", r".*\.relative_position_index", re.escape(_BACKBONE) + r"layernorm\.(weight|bias)"),
)
"""Unused: loss weights, recomputed indices, and Swin's last norm, whose output Mask2Former never sees."""

_RENAMED = (
    (_BACKBONE + "swin.", _BACKBONE),
    (".attention.q_proj.", ".attention.self.query."),
    (".attention.k_proj.", ".attention.self.key."),
    (".attention.v_proj.", ".attention.self.value."),
    (".attention.relative_position_bias.", ".attention.self."),
    (".attention.o_proj.", ".attention.output.dense."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)


def names_on_disk(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the tensors of a model in the memory of transformers 5 the names they have on disk."""
    renamed = {}
    for name, tensor in state.items():
        new = name
        if name.startswith(_BACKBONE):
            for old, replacement in _RENAMED:
                new = new.replace(old, replacement)
        renamed[new] = tensor
    return renamed
