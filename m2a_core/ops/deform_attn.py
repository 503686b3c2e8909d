"""Multi-scale deformable self-attention (Zhu et al., Deformable DETR, ICLR 2021, Eq. 3) as ``m2a::ms_deform_attn``.

Shape legend: B batch, S keys of all levels together (each key is a query too), N heads, D channels a head, L levels,
P points.

The operator is fused: it takes the raw linear projection of the queries and does softmax, reference points and sampling
itself, so that a kernel reads and writes nothing but its inputs and its result. The implementation here, made of
PyTorch operators, is the reference and serves every device that has no kernel of its own; `m2a_core.ops.cuda` has the
GPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from m2a_core.ops.arguments import checked_shapes
from m2a_core.ops.cuda import cuda_backward, cuda_forward
from m2a_core.ops.onnx_node import ms_deform_attn_node
from m2a_core.ops.taps import bilinear_taps, projection_gradient, split_projection

Shapes = Sequence[tuple[int, int]]
Kernel = Callable[..., object]


def ms_deform_attn(value: torch.Tensor, projection: torch.Tensor, shapes: Shapes, points: int) -> torch.Tensor:
    """Every key attends to L * P bilinear samples around its own place; samples outside a level are zero.

    Args:
        value: float [B, S, N, D], rows of level 0 first, each level row-major.
        projection: float [B, S, 3 * N * L * P] of the same type: offsets [N, L, P, 2] (x then y, in cells of the
            level sampled), then attention logits [N, L * P].
        shapes: (height, width) of each level, S = sum of height * width.
        points: P.

    Returns:
        float [B, S, N * D].

    Raises:
        ValueError: the shapes or types do not fit each other.
    """
    if torch.compiler.is_exporting():
        return ms_deform_attn_node(value, projection, shapes, points)
    sizes = [n for shape in shapes for n in shape]
    attended: torch.Tensor = torch.ops.m2a.ms_deform_attn(value, projection, sizes, points)
    return attended


def ms_deform_attn_grid_sample(
    value: torch.Tensor, projection: torch.Tensor, shapes: Shapes, points: int
) -> torch.Tensor:
    """The same operator as a composition of ``grid_sample``: the portable body of the exported graph.

    Arguments and result as `ms_deform_attn`.
    """
    batch, keys, heads, dim = value.shape
    levels = len(shapes)
    _, weights = split_projection(projection, heads, levels, points)
    # Written over whole rows of the projection: runtimes are slow at broadcasting along a last axis of two.
    columns = heads * levels * points * 2
    size = torch.tensor([(w, h) for h, w in shapes], dtype=value.dtype, device=value.device)
    scale = (2 / size)[None, :, None, :].expand(heads, levels, points, 2).reshape(columns)
    centre = (2 * reference_points(shapes, value) - 1).repeat(1, columns // 2)
    grids = (projection[..., :columns] * scale + centre).view(batch, keys, heads, levels, points, 2)
    grids = grids.transpose(1, 2).flatten(0, 1)
    shares = weights.transpose(1, 2).reshape(batch * heads, 1, keys, levels, points)
    sums = []
    start = 0
    for level, (h, w) in enumerate(shapes):
        rows = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(batch * heads, dim, h, w)
        start += h * w
        grid = grids[:, :, level]
        sampled = F.grid_sample(rows, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # One sum a level: to put all samples into one tensor first takes as long as half the sampling.
        sums.append((sampled * shares[..., level, :]).sum(-1))
    return sum(sums[1:], sums[0]).view(batch, heads * dim, keys).transpose(1, 2)


def reference_points(shapes: Shapes, like: torch.Tensor) -> torch.Tensor:
    """Centre of every key's cell.

    Args:
        shapes: (height, width) of each level.
        like: gives type and device.

    Returns:
        float [S, 2], x and y, in (0, 1).
    """
    points = []
    for h, w in shapes:
        y = (torch.arange(h, dtype=like.dtype, device=like.device) + 0.5) / h
        x = (torch.arange(w, dtype=like.dtype, device=like.device) + 0.5) / w
        points.append(torch.stack((x[None, :].expand(h, w), y[:, None].expand(h, w)), -1).flatten(0, 1))
    return torch.cat(points)


def _reference(
    value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
) -> torch.Tensor:
    """`ms_deform_attn`; spatial_shapes is (height, width) of each level in a row."""
    shapes = checked_shapes(value, projection, spatial_shapes, points)
    batch, keys, heads, dim = value.shape
    rows, raw = _full_precision(value).reshape(-1, dim), _full_precision(projection)
    if not rows.numel():
        return value.new_zeros(batch, keys, heads * dim)
    taps = bilinear_taps(raw, heads, shapes, points, reference_points(shapes, raw))
    # Each sample is a weighted sum of four rows, so one embedding bag is the whole sum: nothing of the size of all
    # samples times D exists at any time, forward or backward.
    bags = F.embedding_bag(taps.rows, rows, per_sample_weights=taps.weights, mode="sum")
    return bags.view(batch, keys, heads * dim).to(value.dtype)


def _forward_fake(
    value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
) -> torch.Tensor:
    checked_shapes(value, projection, spatial_shapes, points)
    return value.new_empty(value.shape[0], value.shape[1], value.shape[2] * value.shape[3])


def _backward_reference(
    grad: torch.Tensor, value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of value and projection; the samples' places and weights are computed again rather than kept."""
    shapes = checked_shapes(value, projection, spatial_shapes, points)
    heads, dim = value.shape[2:]
    rows, raw = _full_precision(value).reshape(-1, dim), _full_precision(projection)
    if not rows.numel():
        return torch.zeros_like(value), torch.zeros_like(projection)
    taps = bilinear_taps(raw, heads, shapes, points, reference_points(shapes, raw))
    grad_bags = _full_precision(grad).reshape(-1, dim)
    bags, per_bag = taps.rows.shape
    indices, weights = taps.rows.flatten(), taps.weights.flatten()
    bag = torch.arange(bags, dtype=indices.dtype, device=grad.device)
    first, bag_of = bag * per_bag, bag.repeat_interleave(per_bag)
    # What autograd calls for an embedding bag; asked for by name, the bag itself need not be summed once more.
    grad_rows = torch.ops.aten._embedding_bag_dense_backward(
        grad_bags, indices, bag_of, first, first, len(rows), False, 0, weights
    )
    grad_taps = torch.ops.aten._embedding_bag_per_sample_weights_backward(grad_bags, rows, indices, first, bag_of, 0)
    grad_raw = projection_gradient(taps, grad_taps)
    return grad_rows.view(value.shape).to(value.dtype), grad_raw.view(projection.shape).to(projection.dtype)


def _backward_fake(
    grad: torch.Tensor, value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(value), torch.empty_like(projection)


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    value, projection, ctx.spatial_shapes, ctx.points = inputs
    ctx.save_for_backward(value, projection)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    value, projection = ctx.saved_tensors
    return *torch.ops.m2a.ms_deform_attn_backward(grad, value, projection, ctx.spatial_shapes, ctx.points), None, None


def _define(name: str, reference: Kernel, cuda: Kernel, fake: Kernel) -> None:
    """As ``torch.library.custom_op``, but for its import of PyTorch's compiler, seconds long, at the first call."""
    schema = torch.library.infer_schema(reference, mutates_args=())
    torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(name, "default", reference)
    torch.library.impl(name, "cuda", cuda)
    torch.library.register_fake(name, fake)


_define("m2a::ms_deform_attn", _reference, cuda_forward(_reference), _forward_fake)
_define("m2a::ms_deform_attn_backward", _backward_reference, cuda_backward(_backward_reference), _backward_fake)
torch.library.register_autograd("m2a::ms_deform_attn", _backward, setup_context=_setup_context)


def _full_precision(x: torch.Tensor) -> torch.Tensor:
    """Half precision cannot place a sample in a level wider than some hundred cells."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)
