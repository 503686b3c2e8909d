"""The kernel's source, built for the host, against the definition in float64 and against autograd's gradients."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.host_kernels import build_host
from m2a_core.errors import InferenceError, ModelError
from m2a_core.ops.compile import compile_once
from m2a_core.ops.deform_attn import ms_deform_attn_grid_sample
from m2a_core.ops.kernel_library import KernelLibrary, supported
from test.ops.cases import CASES, POINTS, tolerance
from test.ops.reference import deformable_attention

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="no g++: the kernel cannot be built for the host")
TYPES = [np.float32, np.float16]


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    return KernelLibrary(build_host(tmp_path_factory.mktemp("kernel"), ("-O1",)))


def flat(shapes):
    return [n for shape in shapes for n in shape]


def run(host, value, projection, shapes):
    return host.forward(torch.from_numpy(value), torch.from_numpy(projection), flat(shapes), POINTS).numpy()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_equals_the_definition(host, case, dtype):
    value, projection = case.inputs(dtype)
    with np.errstate(invalid="ignore"):
        want = deformable_attention(value, projection, case.shapes, POINTS)
    got = run(host, value, projection, case.shapes)
    assert got.dtype == dtype
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.isfinite(got), finite)
    error = np.abs(got[finite].astype(np.float64) - want[finite])
    assert (error <= tolerance(want, value, case.shapes)[finite]).all(), error.max()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=lambda case: case.name)
def test_gradients_of_a_case_equal_those_of_autograd_in_float64(host, case, dtype):
    value, projection = (torch.from_numpy(x) for x in case.inputs(dtype))
    shape = (*value.shape[:2], case.heads * case.dim)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(value.dtype)
    got = host.backward(grad, value, projection, flat(case.shapes), POINTS)
    if not value.numel():
        assert [x.shape for x in got] == [value.shape, projection.shape]
        return
    exact = [x.double().requires_grad_() for x in (value, projection)]
    want = (
        torch.autograd.grad((ms_deform_attn_grid_sample(*exact, case.shapes, POINTS) * grad.double()).sum(), exact)
        if 0 not in flat(case.shapes)
        else reference_gradients(exact, grad.double(), case.shapes)
    )
    smooth = away_from_kinks(case, exact[1].detach())
    assert smooth.double().mean() > 0.98
    for mine, theirs, like in zip(got, (want[0], want[1] * smooth), (value, projection), strict=True):
        assert mine.dtype == like.dtype
        compared = mine.double() if mine.dim() == 4 else mine.double() * smooth
        rounding = 6e-4 if dtype == np.float16 else 2e-5
        side = max(flat(case.shapes))
        atol = float((rounding + 1e-6 * side) * theirs.abs().max()) + 1e-7
        torch.testing.assert_close(compared, theirs, rtol=rounding, atol=atol)


def away_from_kinks(case, projection):
    """True but for offsets whose sample lies on a row or column of cell centres, where the slope has two values."""
    levels = len(case.shapes)
    offsets = projection[..., : 2 * case.heads * levels * POINTS].reshape(-1, case.heads, levels, POINTS, 2)
    centres = torch.tensor([((c + 0.5) / w, (r + 0.5) / h) for h, w in case.shapes for r in range(h) for c in range(w)])
    sides = torch.tensor([(w, h) for h, w in case.shapes], dtype=torch.float64)
    places = centres.double().repeat(case.batch, 1)[:, None, None, None] * sides[:, None] - 0.5 + offsets
    smooth = torch.ones_like(projection, dtype=torch.bool)
    smooth[..., : offsets[0].numel()] = ((places - places.round()).abs() > 1e-3).view(*projection.shape[:2], -1)
    return smooth


def reference_gradients(inputs, grad, shapes):
    """GridSample takes no empty level; the operator does."""
    out = torch.ops.m2a.ms_deform_attn(*inputs, flat(shapes), POINTS)
    return torch.autograd.grad((out * grad).sum(), inputs)


def test_gradients_of_samples_at_no_place_are_finite(host):
    case = next(case for case in CASES if case.name == "huge offsets")
    value, projection = (torch.from_numpy(x) for x in case.inputs(np.float32))
    grads = host.backward(torch.ones_like(value).flatten(2), value, projection, flat(case.shapes), POINTS)
    assert all(grad.isfinite().all() for grad in grads)
    offsets = projection[..., : 2 * case.heads * len(case.shapes) * POINTS]
    beyond = ~(offsets.abs() < 1e4)
    assert beyond.any()
    assert not grads[1][..., : offsets.shape[-1]][beyond].any()


SIDE = st.integers(0, 5)
PROBLEMS = st.fixed_dictionaries(
    {
        "shapes": st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=4).map(tuple),
        "heads": st.integers(1, 3),
        "dim": st.sampled_from([16, 32]),
        "batch": st.integers(1, 2),
        "spread": st.sampled_from([0.0, 0.3, 4.0]),
        "seed": st.integers(0, 2**16),
    }
)


def random_inputs(shapes, heads, dim, batch, spread, seed):
    rng = np.random.default_rng(seed)
    keys = sum(h * w for h, w in shapes)
    value = rng.standard_normal((batch, keys, heads, dim)).astype(np.float32)
    projection = spread * rng.standard_normal((batch, keys, 3 * heads * len(shapes) * POINTS))
    return value, projection.astype(np.float32)


@settings(max_examples=12)
@given(PROBLEMS)
def test_any_problem_equals_the_definition(host, problem):
    value, projection = random_inputs(**problem)
    want = deformable_attention(value, projection, problem["shapes"], POINTS)
    np.testing.assert_allclose(run(host, value, projection, problem["shapes"]), want, rtol=0, atol=2e-5)


@settings(max_examples=40)
@given(PROBLEMS, st.floats(-50, 50))
def test_result_is_linear_in_value_and_ignores_a_shift_of_all_logits(host, problem, shift):
    value, projection = random_inputs(**problem)
    shapes = problem["shapes"]
    once = run(host, value, projection, shapes)
    np.testing.assert_allclose(run(host, 2 * value, projection, shapes), 2 * once, rtol=1e-6, atol=1e-6)
    logits = 2 * problem["heads"] * len(shapes) * POINTS
    shifted = projection.copy()
    shifted[..., logits:] += np.float32(shift)
    np.testing.assert_allclose(run(host, value, shifted, shapes), once, rtol=0, atol=1e-4)


@settings(max_examples=40)
@given(PROBLEMS)
def test_result_stays_within_the_values_and_zero(host, problem):
    value, projection = random_inputs(**problem)
    out = run(host, value, projection, problem["shapes"])
    assert (np.abs(out) <= np.abs(value).max(initial=0) * (1 + 1e-5)).all()


def test_every_half_survives_and_every_float_rounds_to_the_nearest_half(host):
    """One key and no offset: the kernel's conversions alone, both ways, of all 65536 bit patterns."""
    patterns = np.arange(65536, dtype=np.uint16).view(np.float16)
    value = patterns.reshape(-1, 1, 1, 32)
    zeros = np.zeros((value.shape[0], 1, 3 * POINTS), np.float16)
    got = run(host, value, zeros, ((1, 1),)).reshape(-1)
    np.testing.assert_array_equal(got, patterns)
    # Half-way between two values: column 0.5 of a level of two.
    pair = np.stack([np.abs(patterns[:-32]), np.abs(patterns[32:])]).reshape(2, -1, 1, 32).transpose(1, 0, 2, 3).copy()
    projection = np.zeros((pair.shape[0], 2, 3 * POINTS), np.float16)
    projection[:, 0, 0 : 2 * POINTS : 2] = 0.5
    mean = run(host, pair, projection, ((1, 2),))[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        want = ((pair[:, 0, 0].astype(np.float32) + pair[:, 1, 0].astype(np.float32)) / 2).astype(np.float16)
    np.testing.assert_array_equal(mean, want)


@pytest.mark.parametrize(
    ("shape", "shapes", "points", "dtype", "message"),
    [
        ((1, 4, 2, 8), (2, 2), 4, torch.float32, "channels a head: expected 16 or 32"),
        ((1, 4, 2, 16), (2, 2), 3, torch.float32, "points: expected 4"),
        ((1, 5, 2, 16), (1, 1) * 5, 4, torch.float32, "levels: expected 1 to 4"),
        ((1, 4, 2, 16), (2, 2), 4, torch.bfloat16, "expected float32 or float16"),
        ((1, 4, 2, 16), (-2, -2), 4, torch.float32, "negative"),
        ((1, 4, 0, 16), (2, 2), 4, torch.float32, "zero heads"),
        ((1, 4, 2, 16), (1 << 15, 1 << 15), 4, torch.float32, "32-bit"),
    ],
)
def test_what_the_kernel_cannot_do_is_named(host, shape, shapes, points, dtype, message):
    value = torch.zeros(shape, dtype=dtype)
    projection = torch.zeros(*shape[:2], 3 * shape[2] * len(shapes) // 2 * points, dtype=dtype)
    with pytest.raises(InferenceError, match=message):
        host.forward(value, projection, shapes, points)
    with pytest.raises(InferenceError, match=message):
        host.backward(torch.zeros(*shape[:2], shape[2] * shape[3], dtype=dtype), value, projection, shapes, points)


def test_views_that_begin_anywhere_are_moved_to_where_vectors_can_be_loaded(host):
    value, projection = CASES[0].inputs(np.float32)
    shapes = flat(CASES[0].shapes)
    shifted = [
        torch.cat([torch.zeros(1), torch.from_numpy(x).flatten()])[1:].view(x.shape) for x in (value, projection)
    ]
    assert all(x.data_ptr() % 16 for x in shifted)
    want = run(host, value, projection, CASES[0].shapes)
    np.testing.assert_array_equal(host.forward(*shifted, shapes, POINTS).numpy(), want)


def test_lanes_of_the_gpu_benchmark_get_every_image_through(host):
    pytest.importorskip("cuda.bindings", reason="needs cuda-python")
    from benchmarks.gpu.lane_steps import run_lanes
    from benchmarks.gpu.timing import Device

    rows = list(run_lanes(host, Device("cpu")))
    assert rows[0] == {"lanes": [1, 2, 4], "captured": [True, True, True]}
    assert [row["images"] for row in rows[1:-1]] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert all(row["ok"] for row in rows[1:])


def test_supported_names_exactly_what_the_library_takes():
    value = torch.zeros(1, 4, 2, 32)
    assert supported(value, [2, 2], 4)
    assert supported(value.half(), [2, 2] * 4, 4)
    assert not supported(value.double(), [2, 2], 4)
    assert not supported(value.bfloat16(), [2, 2], 4)
    assert not supported(value[..., :8], [2, 2], 4)
    assert not supported(value, [2, 2] * 5, 4)
    assert not supported(value, [2, 2], 3)


def test_compiler_that_refuses_is_quoted_and_leaves_nothing_behind(tmp_path):
    source = tmp_path / "source" / "broken.cpp"
    source.parent.mkdir()
    source.write_text("this is not C++\n")
    cache = tmp_path / "cache"
    with pytest.raises(ModelError, match=r"broken.cpp.*g\+\+ failed.*this"):
        compile_once(["g++"], source, "broken", cache)
    assert list(cache.iterdir()) == []


def test_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file.*cannot be written"):
        build_host(tmp_path / "file" / "cache")


def test_second_build_is_the_first_one(tmp_path):
    source = tmp_path / "source" / "one.cpp"
    source.parent.mkdir()
    source.write_text("int one() { return 1; }\n")
    command = ["g++", "-shared", "-fPIC"]
    first = compile_once(command, source, "one", tmp_path / "cache")
    stamp = first.stat().st_mtime_ns
    assert compile_once(command, source, "one", tmp_path / "cache") == first
    assert first.stat().st_mtime_ns == stamp
    source.write_text("int one() { return 2; }\n")
    assert compile_once(command, source, "one", tmp_path / "cache") != first
