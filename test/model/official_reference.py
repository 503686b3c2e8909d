"""The official network, written from its description as plain functions over an official state dict.

An oracle: it shares no code with m2a_core and reads the tensors under the names of the authors' files. Small sizes
stand in for the real ones; ``official_shapes`` gives the real names and shapes too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

HEAD = "sem_seg_head."
PIXEL = HEAD + "pixel_decoder."
DECODER = HEAD + "predictor."


@dataclass(frozen=True)
class Sizes:
    classes: int = 19
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    stem: int = 64
    hidden: int = 256
    heads: int = 8
    queries: int = 100
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    layers: int = 9
    ffn: int = 2048
    mask: int = 256


SMALL = Sizes(
    classes=11,
    blocks=(2, 2, 2, 2),
    stem=16,
    hidden=64,
    heads=4,
    queries=12,
    encoder_layers=2,
    encoder_ffn=96,
    layers=4,
    ffn=80,
    mask=32,
)


def resnet_shapes(s: Sizes) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}

    def conv(name: str, out: int, inputs: int, kernel: int) -> None:
        shapes[f"backbone.{name}.weight"] = [out, inputs, kernel, kernel]
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"backbone.{name}.norm.{part}"] = [out]
        shapes[f"backbone.{name}.norm.num_batches_tracked"] = []

    conv("stem.conv1", s.stem, 3, 7)
    inputs = s.stem
    for stage, blocks in enumerate(s.blocks):
        width = s.stem * 2**stage
        for block in range(blocks):
            name = f"res{stage + 2}.{block}"
            if block == 0:
                conv(f"{name}.shortcut", 4 * width, inputs, 1)
            conv(f"{name}.conv1", width, inputs, 1)
            conv(f"{name}.conv2", width, width, 3)
            conv(f"{name}.conv3", 4 * width, width, 1)
            inputs = 4 * width
    return shapes


def swin_shapes(dim: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}

    def affine(name: str, out: int, inputs: int | None = None, bias: bool = True) -> None:
        shapes[f"backbone.{name}.weight"] = [out] if inputs is None else [out, inputs]
        if bias:
            shapes[f"backbone.{name}.bias"] = [out]

    shapes |= {"backbone.patch_embed.proj.weight": [dim, 3, 4, 4], "backbone.patch_embed.proj.bias": [dim]}
    affine("patch_embed.norm", dim)
    for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
        width = dim * 2**stage
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            affine(f"{name}.norm1", width)
            shapes[f"backbone.{name}.attn.relative_position_bias_table"] = [(2 * window - 1) ** 2, count]
            shapes[f"backbone.{name}.attn.relative_position_index"] = [window**2, window**2]
            affine(f"{name}.attn.qkv", 3 * width, width)
            affine(f"{name}.attn.proj", width, width)
            affine(f"{name}.norm2", width)
            affine(f"{name}.mlp.fc1", 4 * width, width)
            affine(f"{name}.mlp.fc2", width, 4 * width)
        if stage < 3:
            affine(f"layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
            affine(f"layers.{stage}.downsample.norm", 4 * width)
        affine(f"norm{stage}", width)
    return shapes


def head_shapes(s: Sizes, channels: tuple[int, ...], attentions: tuple[str, ...]) -> dict[str, list[int]]:
    d = s.hidden
    shapes: dict[str, list[int]] = {
        PIXEL + "transformer.level_embed": [3, d],
        "criterion.empty_weight": [s.classes + 1],
    }

    def linear(name: str, out: int, inputs: int, *kernel: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [out, inputs, *kernel], [out]

    def norm(name: str) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [d], [d]

    for level, inputs in enumerate(reversed(channels[1:])):
        linear(f"{PIXEL}input_proj.{level}.0", d, inputs, 1, 1)
        norm(f"{PIXEL}input_proj.{level}.1")
    for layer in range(s.encoder_layers):
        name = f"{PIXEL}transformer.encoder.layers.{layer}"
        linear(f"{name}.self_attn.sampling_offsets", s.heads * 3 * 4 * 2, d)
        linear(f"{name}.self_attn.attention_weights", s.heads * 3 * 4, d)
        linear(f"{name}.self_attn.value_proj", d, d)
        linear(f"{name}.self_attn.output_proj", d, d)
        linear(f"{name}.linear1", s.encoder_ffn, d)
        linear(f"{name}.linear2", d, s.encoder_ffn)
        norm(f"{name}.norm1")
        norm(f"{name}.norm2")
    linear(f"{PIXEL}mask_features", s.mask, d, 1, 1)
    shapes[f"{PIXEL}adapter_1.weight"], shapes[f"{PIXEL}layer_1.weight"] = [d, channels[0], 1, 1], [d, d, 3, 3]
    norm(f"{PIXEL}adapter_1.norm")
    norm(f"{PIXEL}layer_1.norm")

    def attention(name: str) -> None:
        shapes[f"{name}.in_proj_weight"], shapes[f"{name}.in_proj_bias"] = [3 * d, d], [3 * d]
        linear(f"{name}.out_proj", d, d)

    for layer in range(s.layers):
        cross = f"{DECODER}transformer_cross_attention_layers.{layer}"
        for which in attentions:
            attention(f"{cross}.{which}")
        norm(f"{cross}.norm")
        if len(attentions) == 2:
            linear(f"{cross}.fusion_layer", 100, 200, 1, 1)
        attention(f"{DECODER}transformer_self_attention_layers.{layer}.self_attn")
        norm(f"{DECODER}transformer_self_attention_layers.{layer}.norm")
        linear(f"{DECODER}transformer_ffn_layers.{layer}.linear1", s.ffn, d)
        linear(f"{DECODER}transformer_ffn_layers.{layer}.linear2", d, s.ffn)
        norm(f"{DECODER}transformer_ffn_layers.{layer}.norm")
    norm(f"{DECODER}decoder_norm")
    for name, rows in (("query_feat", s.queries), ("query_embed", s.queries), ("level_embed", 3)):
        shapes[f"{DECODER}{name}.weight"] = [rows, d]
    linear(f"{DECODER}class_embed", s.classes + 1, d)
    for layer, out in enumerate((d, d, s.mask)):
        linear(f"{DECODER}mask_embed.layers.{layer}", out, d)
    return shapes


GLOBAL_MASKED = ("multihead_attn_foreground", "multihead_attn_background")
MASKED = ("multihead_attn",)


def official_shapes(s: Sizes = SMALL, attentions: tuple[str, ...] = GLOBAL_MASKED) -> dict[str, list[int]]:
    return resnet_shapes(s) | head_shapes(s, tuple(4 * s.stem * 2**i for i in range(4)), attentions)


def random_state(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Values that keep activations near unit size and make masks of both signs."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("num_batches_tracked", "relative_position_index")):
            state[name] = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith("running_var"):
            state[name] = 1 + 0.3 * noise.abs()
        elif name.endswith(("query_feat.weight", "query_embed.weight", "sampling_offsets.bias")):
            state[name] = 1.5 * noise
        elif len(shape) > 1:
            state[name] = noise * (2 / math.prod(shape[1:])) ** 0.5
        elif "norm" in name and name.endswith("weight"):
            state[name] = 1 + 0.2 * noise
        else:
            state[name] = 0.1 * noise
    return state


def _centres(h: int, w: int, dtype: torch.dtype) -> torch.Tensor:
    """Centres of the cells of a level, row by row: [h * w, 2], x and y in (0, 1)."""
    y, x = torch.meshgrid(torch.arange(h, dtype=dtype), torch.arange(w, dtype=dtype), indexing="ij")
    return torch.stack(((x + 0.5) / w, (y + 0.5) / h), -1).reshape(h * w, 2)


class Reference:
    """The official forward pass; ``masks_used`` keeps every attention mask (True = hidden) for tests to look at."""

    def __init__(self, state: dict[str, torch.Tensor], sizes: Sizes) -> None:
        self.w = state
        self.s = sizes
        self.masks_used: list[torch.Tensor] = []

    def conv_norm(self, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        n = f"backbone.{name}.norm"
        x = F.conv2d(x, self.w[f"backbone.{name}.weight"], None, stride, padding)
        scale = self.w[f"{n}.weight"] / (self.w[f"{n}.running_var"] + 1e-5).sqrt()
        shift = self.w[f"{n}.bias"] - self.w[f"{n}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def backbone(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = F.max_pool2d(self.conv_norm("stem.conv1", x, 2, 3).relu(), 3, 2, 1)
        features = []
        for stage, blocks in enumerate(self.s.blocks):
            for block in range(blocks):
                name, stride = f"res{stage + 2}.{block}", 2 if stage and not block else 1
                out = self.conv_norm(f"{name}.conv1", x).relu()
                out = self.conv_norm(f"{name}.conv2", out, stride, 1).relu()
                out = self.conv_norm(f"{name}.conv3", out)
                x = (out + (x if block else self.conv_norm(f"{name}.shortcut", x, stride))).relu()
            features.append(x)
        return features

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (self.s.hidden,), self.w[f"{name}.weight"], self.w[f"{name}.bias"], 1e-5)

    def group_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], 1e-5)

    def position(self, h: int, w: int) -> torch.Tensor:
        """Sine embedding, row by row: [h * w, hidden], y first."""
        half = self.s.hidden // 2
        dtype = self.w[PIXEL + "mask_features.weight"].dtype
        period = torch.tensor([10000 ** (2 * (i // 2) / half) for i in range(half)], dtype=dtype)
        rows = []
        for count in (h, w):
            angle = (torch.arange(count, dtype=dtype)[:, None] + 1) / (count + 1e-6) * 2 * math.pi / period
            rows.append(torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos()))
        y, x = rows
        return torch.cat((y[:, None].expand(h, w, half), x[None].expand(h, w, half)), -1).reshape(h * w, -1)

    def deformable(self, name: str, query: torch.Tensor, source: torch.Tensor, shapes: list) -> torch.Tensor:
        batch, tokens, dim = source.shape
        heads = self.s.heads
        value = self.linear(f"{name}.value_proj", source).reshape(batch, tokens, heads, dim // heads)
        offsets = self.linear(f"{name}.sampling_offsets", query).reshape(batch, tokens, heads, 3, 4, 2)
        weights = self.linear(f"{name}.attention_weights", query).reshape(batch, tokens, heads, 12).softmax(-1)
        centre = torch.cat([_centres(h, w, query.dtype) for h, w in shapes])
        out = torch.zeros_like(value)
        start = 0
        for level, (h, w) in enumerate(shapes):
            grid = centre[None, :, None, None] + offsets[:, :, :, level] / torch.tensor([w, h], dtype=query.dtype)
            maps = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(batch * heads, dim // heads, h, w)
            start += h * w
            grid = 2 * grid.transpose(1, 2).reshape(batch * heads, tokens, 4, 2) - 1
            samples = F.grid_sample(maps, grid, "bilinear", "zeros", align_corners=False)
            own = weights[..., 4 * level : 4 * level + 4].transpose(1, 2).reshape(batch * heads, 1, tokens, 4)
            out += (samples * own).sum(-1).reshape(batch, heads, dim // heads, tokens).permute(0, 3, 1, 2)
        return self.linear(f"{name}.output_proj", out.reshape(batch, tokens, dim))

    def pixel_decoder(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        levels = []
        for i, feature in enumerate(reversed(features[1:])):
            name = f"{PIXEL}input_proj.{i}"
            x = F.conv2d(feature, self.w[f"{name}.0.weight"], self.w[f"{name}.0.bias"])
            levels.append(self.group_norm(f"{name}.1", x))
        shapes = [tuple(x.shape[2:]) for x in levels]
        source = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
        embed = self.w[PIXEL + "transformer.level_embed"]
        position = torch.cat([self.position(h, w) + embed[i] for i, (h, w) in enumerate(shapes)])
        for layer in range(self.s.encoder_layers):
            name = f"{PIXEL}transformer.encoder.layers.{layer}"
            attended = self.deformable(f"{name}.self_attn", source + position, source, shapes)
            source = self.layer_norm(f"{name}.norm1", source + attended)
            ffn = self.linear(f"{name}.linear2", self.linear(f"{name}.linear1", source).relu())
            source = self.layer_norm(f"{name}.norm2", source + ffn)
        out = [
            part.transpose(1, 2).reshape(len(part), -1, h, w)
            for part, (h, w) in zip(source.split([h * w for h, w in shapes], 1), shapes, strict=True)
        ]
        fine = self.group_norm(PIXEL + "adapter_1.norm", F.conv2d(features[0], self.w[PIXEL + "adapter_1.weight"]))
        fine = fine + F.interpolate(out[-1], size=fine.shape[2:], mode="bilinear", align_corners=False)
        fine = F.conv2d(fine, self.w[PIXEL + "layer_1.weight"], padding=1)
        fine = self.group_norm(PIXEL + "layer_1.norm", fine).relu()
        masks = F.conv2d(fine, self.w[PIXEL + "mask_features.weight"], self.w[PIXEL + "mask_features.bias"])
        return masks, out

    def attention(self, name: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden=None) -> torch.Tensor:
        """Multi-head attention, head by head; ``hidden`` [B, Q, S] is True where a query must not look."""
        weight, bias = self.w[f"{name}.in_proj_weight"].chunk(3), self.w[f"{name}.in_proj_bias"].chunk(3)
        q, k, v = (F.linear(x, weight[i], bias[i]) for i, x in enumerate((q, k, v)))
        size = self.s.hidden // self.s.heads
        out = []
        for head in range(self.s.heads):
            part = slice(head * size, (head + 1) * size)
            logits = q[..., part] @ k[..., part].transpose(1, 2) / size**0.5
            if hidden is not None:
                logits = logits.masked_fill(hidden, -math.inf)
            out.append(logits.softmax(-1) @ v[..., part])
        return self.linear(f"{name}.out_proj", torch.cat(out, -1))

    def predict(self, query: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        query = self.layer_norm(DECODER + "decoder_norm", query)
        embed = query
        for i in range(3):
            embed = self.linear(f"{DECODER}mask_embed.layers.{i}", embed)
            embed = embed.relu() if i < 2 else embed
        return self.linear(DECODER + "class_embed", query), torch.einsum("bqc,bchw->bqhw", embed, features)

    def branch_masks(self, mask_logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden positions of foreground and background: resize, sigmoid, compare, then free the empty rows."""
        resized = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False).flatten(2).sigmoid()
        masks = []
        for hidden in (resized < 0.5, resized > 0.5):
            hidden[hidden.all(-1)] = False
            masks.append(hidden)
        return masks[0], masks[1]

    def __call__(self, image: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        features, levels = self.pixel_decoder(self.backbone(image))
        batch = len(image)
        query = self.w[DECODER + "query_feat.weight"].expand(batch, -1, -1)
        embed = self.w[DECODER + "query_embed.weight"]
        predictions = [self.predict(query, features)]
        for layer in range(self.s.layers):
            level = levels[layer % 3]
            memory = level.flatten(2).transpose(1, 2) + self.w[DECODER + "level_embed.weight"][layer % 3]
            key = memory + self.position(*level.shape[2:])
            hidden = self.branch_masks(predictions[-1][1], tuple(level.shape[2:]))
            self.masks_used += hidden
            cross = f"{DECODER}transformer_cross_attention_layers.{layer}"
            names = GLOBAL_MASKED if f"{cross}.{GLOBAL_MASKED[1]}.in_proj_weight" in self.w else MASKED
            update = sum(
                self.attention(f"{cross}.{name}", query + embed, key, memory, mask)
                for name, mask in zip(names, hidden, strict=False)
            )
            query = self.layer_norm(f"{cross}.norm", query + update)
            own = f"{DECODER}transformer_self_attention_layers.{layer}"
            position = query + embed
            query = self.layer_norm(
                f"{own}.norm", query + self.attention(f"{own}.self_attn", position, position, query)
            )
            ffn = f"{DECODER}transformer_ffn_layers.{layer}"
            update = self.linear(f"{ffn}.linear2", self.linear(f"{ffn}.linear1", query).relu())
            query = self.layer_norm(f"{ffn}.norm", query + update)
            predictions.append(self.predict(query, features))
        return predictions
