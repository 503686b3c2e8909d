"""Deformable attention as one node of an exported graph; ``m2a_core.export.portable`` gives the node its body."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from m2a_core.contract.plugin import DOMAIN, OP_TYPE, PLUGIN_NAMESPACE, PLUGIN_VERSION


def ms_deform_attn_node(
    value: torch.Tensor, projection: torch.Tensor, shapes: Sequence[tuple[int, int]], points: int
) -> torch.Tensor:
    """Stand-in that the exporter writes as a node; arguments and result as `m2a_core.ops.deform_attn.ms_deform_attn`.

    It computes nothing: outside an export its result is not defined.
    """
    batch, keys, heads, dim = value.shape
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{OP_TYPE}",
        (value, projection),
        attrs={
            "num_heads": heads,
            "num_points": points,
            "spatial_shapes": [int(side) for shape in shapes for side in shape],
            "plugin_version": PLUGIN_VERSION,
            "plugin_namespace": PLUGIN_NAMESPACE,
        },
        dtype=value.dtype,
        shape=(batch, keys, heads * dim),
        version=1,
    )
