"""Transformer decoder: learned queries become mask embeddings and class scores (paper Sec. 3, 4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from m2a_core.model.config import ModelConfig
from m2a_core.model.mask_attention import Attention, MaskAttention
from m2a_core.model.pixel_decoder import PixelFeatures
from m2a_core.model.position import sine_position

Prediction = tuple[torch.Tensor, torch.Tensor]
"""class_logits [B, Q, K+1] and mask_logits [B, Q, h, w]."""


class DecoderLayer(nn.Module):
    """Attention to the image, self-attention, feed-forward network; post-norm."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the layer."""
        super().__init__()
        dim = config.hidden_dim
        self.mask_attention = MaskAttention(dim, config.num_heads, config.attention)
        self.self_attention = Attention(dim, config.num_heads)
        self.self_norm = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.decoder_ffn)
        self.linear2 = nn.Linear(config.decoder_ffn, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        query: torch.Tensor,
        query_position: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        mask_logits: torch.Tensor,
    ) -> torch.Tensor:
        """Update the queries, float [B, Q, dim]; arguments as `MaskAttention.forward`."""
        query = self.mask_attention(query, query_position, memory, memory_position, mask_logits)
        q = query + query_position
        query = self.self_norm(query + self.self_attention(q, q, query))
        normed: torch.Tensor = self.ffn_norm(query + self.linear2(F.relu(self.linear1(query))))
        return normed


class TransformerDecoder(nn.Module):
    """Queries, layers and prediction heads."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the decoder."""
        super().__init__()
        dim = config.hidden_dim
        self.dim = dim
        self.query_features = nn.Parameter(torch.randn(config.num_queries, dim))
        self.query_position = nn.Parameter(torch.randn(config.num_queries, dim))
        self.level_embed = nn.Parameter(torch.randn(config.decoder_levels, dim))
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(dim)
        self.class_head = nn.Linear(dim, config.labels.num_classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.mask_dim)
        )

    def forward(self, features: PixelFeatures, all_layers: bool) -> list[Prediction]:
        """Decode.

        Args:
            features: the pixel decoder's result.
            all_layers: also predict from the learned queries and after every layer (deep supervision).

        Returns:
            The predictions, the last layer's last; only that one unless ``all_layers``.
        """
        batch = features.mask_features.shape[0]
        memory, position, guides = [], [], []
        for i, feature in enumerate(features.levels):
            height, width = int(feature.shape[2]), int(feature.shape[3])
            memory.append(feature.flatten(2).transpose(1, 2) + self.level_embed[i])
            position.append(sine_position(height, width, self.dim, feature).flatten(2).transpose(1, 2))
            # Mask logits are linear in the mask features, and so is bilinear resizing: resizing the features once per
            # level equals resizing every layer's full-size masks, at a fraction of the cost.
            guides.append(
                F.interpolate(features.mask_features, size=(height, width), mode="bilinear", align_corners=False)
            )

        query = self.query_features.expand(batch, -1, -1)
        query_position = self.query_position.expand(batch, -1, -1)
        predictions = []
        for i, layer in enumerate(self.layers):
            level = i % len(memory)
            normed = self.norm(query)
            embedding = self.mask_head(normed)
            if all_layers:
                predictions.append(self._predict(normed, embedding, features.mask_features))
            guide = (embedding @ guides[level].flatten(2)).detach()
            query = layer(query, query_position, memory[level], position[level], guide)
        normed = self.norm(query)
        predictions.append(self._predict(normed, self.mask_head(normed), features.mask_features))
        return predictions

    def _predict(self, normed: torch.Tensor, embedding: torch.Tensor, mask_features: torch.Tensor) -> Prediction:
        masks = embedding @ mask_features.flatten(2)
        return self.class_head(normed), masks.unflatten(2, mask_features.shape[2:])
