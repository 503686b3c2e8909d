"""Attention of queries to image features: cross, masked (Eq. 8) and global masked (Eq. 10), in one place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from m2a_core.model.config import AttentionKind


class Attention(nn.Module):
    """Multi-head attention with separate projections."""

    def __init__(self, dim: int, heads: int) -> None:
        """Make the projections, Xavier-initialised as one [3 * dim, dim] matrix (torch.nn.MultiheadAttention)."""
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        for linear in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.xavier_uniform_(linear.weight, gain=0.5**0.5)
        nn.init.xavier_uniform_(self.out_proj.weight)
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.zeros_(linear.bias)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attend: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attend.

        Args:
            query: float [B, Q, dim].
            key: float [B, S, dim].
            value: float [B, S, dim].
            attend: bool [B, Q, S], True where a query may look; None: everywhere.

        Returns:
            float [B, Q, dim].
        """
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        mask = None
        if attend is not None:
            # Added, not chosen: for a boolean mask the exported graph would guard every row against being empty.
            mask = torch.zeros_like(attend, dtype=query.dtype).masked_fill(~attend, -torch.inf)[:, None]
        attended: torch.Tensor = self.out_proj(
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        )
        return attended


class MaskAttention(nn.Module):
    """Attention of queries to one feature level, guided by the masks of the previous layer; residual and post-norm."""

    def __init__(self, dim: int, heads: int, kind: AttentionKind) -> None:
        """Make the attention; Eq. 10's two terms have projections of their own."""
        super().__init__()
        self.kind = kind
        self.foreground = Attention(dim, heads)
        self.background = Attention(dim, heads) if kind == "global_masked" else None
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        query: torch.Tensor,
        query_position: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        mask_logits: torch.Tensor,
    ) -> torch.Tensor:
        """Attend.

        A query whose foreground (or background) is empty attends everywhere in that term, as the released code does;
        a pixel at exactly 0.5 belongs to both.

        Args:
            query: float [B, Q, dim].
            query_position: float [B, Q, dim].
            memory: float [B, S, dim], the level's features.
            memory_position: float [B, S, dim].
            mask_logits: float [B, Q, S], M_{l-1} at the level's size, before the sigmoid; carries no gradient.

        Returns:
            float [B, Q, dim].
        """
        q, k = query + query_position, memory + memory_position
        if self.kind == "cross":
            update = self.foreground(q, k, memory)
        else:
            probability = mask_logits.sigmoid()
            update = self.foreground(q, k, memory, _never_empty(probability >= 0.5))
            if self.background is not None:
                update = update + self.background(q, k, memory, _never_empty(probability <= 0.5))
        normed: torch.Tensor = self.norm(query + update)
        return normed


def _never_empty(attend: torch.Tensor) -> torch.Tensor:
    return attend | ~attend.any(-1, keepdim=True)
