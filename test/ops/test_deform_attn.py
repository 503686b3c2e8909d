"""The operator m2a::ms_deform_attn against its definition, PyTorch's own checks of operators, and bad input."""

import numpy as np
import pytest
import torch

from m2a_core.model.pixel_decoder import DeformableAttention
from m2a_core.ops.deform_attn import ms_deform_attn, ms_deform_attn_grid_sample
from test.ops.reference import deformable_attention

SHAPES = ((3, 5), (1, 1), (1, 4), (4, 2))
HEADS, DIM, POINTS = 2, 4, 3
OPERATOR = torch.ops.m2a.ms_deform_attn.default


def inputs(shapes=SHAPES, batch=2, dtype=torch.float64, spread=3.0, points=POINTS, seed=0):
    """Offsets of a few cells, so that many samples lie on and beyond the borders of levels this small."""
    generator = torch.Generator().manual_seed(seed)
    keys = sum(h * w for h, w in shapes)
    value = torch.randn(batch, keys, HEADS, DIM, generator=generator, dtype=torch.float64)
    projection = spread * torch.randn(
        batch, keys, 3 * HEADS * len(shapes) * points, generator=generator, dtype=torch.float64
    )
    return value.to(dtype).requires_grad_(), projection.to(dtype).requires_grad_()


def flat(shapes):
    return [n for shape in shapes for n in shape]


@pytest.mark.parametrize("body", [ms_deform_attn, ms_deform_attn_grid_sample])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_definition(body, dtype, limit):
    value, projection = inputs(dtype=dtype)
    want = deformable_attention(value.detach(), projection.detach(), SHAPES, POINTS)
    got = body(value, projection, SHAPES, POINTS)
    assert got.dtype == dtype
    assert np.abs(got.detach().numpy() - want).max() < limit


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_only_the_rounding_of_its_result(dtype):
    """A far key makes the coordinate large: with coordinates in half precision the sample would be cells away."""
    shapes = ((1, 1025),)
    value, projection = inputs(shapes, batch=1, dtype=dtype, points=1)
    want = deformable_attention(value.detach().double(), projection.detach().double(), shapes, 1)
    got = ms_deform_attn(value, projection, shapes, 1)
    assert got.dtype == dtype
    assert np.abs(got.detach().double().numpy() - want).max() <= np.abs(want).max() * torch.finfo(dtype).eps


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "requires_grad"), [(torch.float32, True), (torch.float16, False)])
def test_operator_keeps_pytorchs_rules(dtype, requires_grad):
    """Schema, fake kernel, autograd registration, ahead-of-time tracing with dynamic shapes."""
    value, projection = inputs(((2, 3), (1, 2)), dtype=dtype)
    arguments = (value.detach().requires_grad_(requires_grad), projection.detach().requires_grad_(requires_grad))
    torch.library.opcheck(OPERATOR, (*arguments, [2, 3, 1, 2], POINTS))


@pytest.mark.slow
def test_backward_operator_keeps_pytorchs_rules():
    value, projection = (x.detach() for x in inputs(((2, 3), (1, 2))))
    grad = torch.ones(2, 8, HEADS * DIM, dtype=torch.float64)
    operator = torch.ops.m2a.ms_deform_attn_backward.default
    torch.library.opcheck(operator, (grad, value, projection, [2, 3, 1, 2], POINTS))


@pytest.mark.slow
def test_gradient_is_the_slope():
    value, projection = inputs(((2, 3), (1, 2)), batch=1)
    # Along one random direction: an element that is wrong moves it as well.
    assert torch.autograd.gradcheck(
        lambda v, p: ms_deform_attn(v, p, ((2, 3), (1, 2)), POINTS), (value, projection), fast_mode=True
    )


def test_gradients_equal_those_of_grid_sample():
    value, projection = inputs(batch=2, spread=2.0)
    weight = torch.randn(2, value.shape[1], HEADS * DIM, dtype=torch.float64)
    mine, theirs = (
        torch.autograd.grad((body(value, projection, SHAPES, POINTS) * weight).sum(), (value, projection))
        for body in (ms_deform_attn, ms_deform_attn_grid_sample)
    )
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("offset", [1e30, -1e30, float("inf"), float("-inf"), float("nan")])
def test_offsets_beyond_any_level_count_as_outside_and_keep_gradients_finite(offset):
    value, projection = inputs()
    with torch.no_grad():
        projection[..., 0 : 2 * HEADS * len(SHAPES) * POINTS : 5] = offset
    got = ms_deform_attn(value, projection, SHAPES, POINTS)
    want = deformable_attention(value.detach(), projection.detach(), SHAPES, POINTS)
    torch.testing.assert_close(got.detach(), torch.from_numpy(want), rtol=0, atol=1e-12)
    for grad in torch.autograd.grad(got.sum(), (value, projection)):
        assert grad.isfinite().all()


@pytest.mark.parametrize("shapes", [((0, 0),), ((0, 3), (2, 2))])
def test_empty_levels_and_batches(shapes):
    for batch in (0, 1):
        value, projection = inputs(shapes, batch=batch)
        got = ms_deform_attn(value, projection, shapes, POINTS)
        assert got.shape == (batch, sum(h * w for h, w in shapes), HEADS * DIM)
        grads = torch.autograd.grad(got.sum(), (value, projection))
        assert [g.shape for g in grads] == [value.shape, projection.shape]


@pytest.mark.slow
def test_exported_graph_holds_one_node_and_eager_one_operator():
    layer = DeformableAttention(8, 2, 2, 3).eval()
    query = torch.randn(1, 10, 8)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x, ((2, 3), (1, 4)))

    with torch.profiler.profile() as profile, torch.no_grad():
        Net()(query)
    program = torch.export.export(Net(), (query,))
    exported = {str(node.target) for node in program.graph.nodes}
    assert "m2a::ms_deform_attn" in {event.key for event in profile.key_averages()}
    assert any("onnx_symbolic" in name for name in exported)
    assert not any("m2a" in name for name in exported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, p: (v[:, 1:], p, SHAPES, POINTS), "28 keys"),
        (lambda v, p: (v, p[..., 1:], SHAPES, POINTS), "projection must be"),
        (lambda v, p: (v, p.float(), SHAPES, POINTS), "one type"),
        (lambda v, p: (v.long(), p.long(), SHAPES, POINTS), "one type"),
        (lambda v, p: (v.flatten(2), p, SHAPES, POINTS), "expected value"),
        (lambda v, p: (v, p, (), POINTS), "at least one level"),
        (lambda v, p: (v, p, SHAPES, 0), "one point"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_unfit_input_is_named(change, message, device):
    value, projection = (x.detach().to(device) for x in inputs())
    with pytest.raises(ValueError, match=message):
        ms_deform_attn(*change(value, projection))
