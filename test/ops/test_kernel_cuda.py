"""The CUDA implementation of the operator; what needs no GPU of it runs everywhere, the rest where there is one."""

import warnings

import numpy as np
import pytest
import torch

import m2a_core.ops.cuda as cuda_ops
from m2a_core.errors import ModelError
from m2a_core.ops import compile as kernel_compile
from m2a_core.ops.cuda import cuda_backward, cuda_forward
from m2a_core.ops.deform_attn import ms_deform_attn
from test.ops.cases import CASES, POINTS, tolerance
from test.ops.reference import deformable_attention

GPU = pytest.mark.skipif(
    not torch.cuda.is_available() or kernel_compile.find_nvcc() is None, reason="no GPU, or no nvcc to build for it"
)


def test_operator_has_an_implementation_for_cuda():
    for name in ("m2a::ms_deform_attn", "m2a::ms_deform_attn_backward"):
        # PyTorch tells this nowhere else.
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")  # noqa: SLF001


def test_what_the_kernels_are_not_built_for_goes_to_the_reference():
    def reference(*arguments):
        return arguments

    value, projection = torch.zeros(1, 4, 2, 8), torch.zeros(1, 4, 24)
    assert cuda_forward(reference)(value, projection, [2, 2], 4) == (value, projection, [2, 2], 4)
    grad = torch.zeros(1, 4, 16)
    assert cuda_backward(reference)(grad, value, projection, [2, 2], 4) == (grad, value, projection, [2, 2], 4)


def test_bfloat16_is_computed_in_single_precision_and_given_back_as_bfloat16():
    grad, value, projection = (torch.ones(shape).bfloat16() for shape in ((1, 4, 16), (1, 4, 2, 8), (1, 4, 24)))
    seen = []

    def reference(*tensors):
        seen.extend(x.dtype for x in tensors if isinstance(x, torch.Tensor))
        return tensors[0] if len(tensors) == 4 else tensors[1:3]

    results = [cuda_forward(reference)(value, projection, [2, 2], 4)]
    results += cuda_backward(reference)(grad, value, projection, [2, 2], 4)
    assert [x.dtype for x in results] == 3 * [torch.bfloat16]
    assert seen == 5 * [torch.float32]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g, v, p: (g, v, p[..., 1:]), "projection must be"),
        (lambda g, v, p: (g, v[:, 1:], p), "4 keys"),
        (lambda g, v, p: (g, v, p.half()), "one type"),
        (lambda g, v, p: (g, v, p.to("meta")), "one device"),
        (lambda g, v, p: (g.to("meta"), v, p), "gradient cannot be"),
        (lambda g, v, p: (g[..., 1:], v, p), "gradient cannot be"),
        (lambda g, v, p: (g.half(), v, p), "gradient cannot be"),
    ],
)
def test_sizes_that_do_not_fit_never_reach_the_kernel(monkeypatch, change, message):
    monkeypatch.setattr(cuda_ops, "library_for", lambda *_: pytest.fail("reached the kernel"))
    grad, value, projection = change(torch.zeros(1, 4, 32), torch.zeros(1, 4, 2, 16), torch.zeros(1, 4, 24))
    with pytest.raises(ValueError, match=message):
        cuda_backward(pytest.fail)(grad, value, projection, [2, 2], 4)
    if "gradient" not in message:
        with pytest.raises(ValueError, match=message):
            cuda_forward(pytest.fail)(value, projection, [2, 2], 4)


def test_machine_without_a_compiler_is_warned_once(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ModelError, match="needs nvcc: install the CUDA toolkit"):
        kernel_compile.build_cuda((8, 7))
    cuda_ops.compiled_library.cache_clear()
    with pytest.warns(UserWarning, match=r"nvcc.*PyTorch's own operators serve instead"):
        assert cuda_ops.compiled_library((8, 7)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cuda_ops.compiled_library((8, 7)) is None
    cuda_ops.compiled_library.cache_clear()


@GPU
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_on_the_gpu_equals_the_definition(case, dtype):
    value, projection = case.inputs(dtype)
    with np.errstate(invalid="ignore"):
        want = deformable_attention(value, projection, case.shapes, POINTS)
    got = ms_deform_attn(*(torch.from_numpy(x).cuda() for x in (value, projection)), case.shapes, POINTS).cpu().numpy()
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.isfinite(got), finite)
    assert (np.abs(got[finite] - want[finite]) <= tolerance(want, value, case.shapes)[finite]).all()


@GPU
@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=lambda case: case.name)
def test_gradients_on_the_gpu_equal_those_of_the_reference(case):
    inputs = [torch.from_numpy(x) for x in case.inputs(np.float32)]
    here, there = ([x.to(device).requires_grad_() for x in inputs] for device in ("cpu", "cuda"))
    grads = [torch.autograd.grad(ms_deform_attn(*x, case.shapes, POINTS).square().sum(), x) for x in (here, there)]
    for want, got in zip(*grads, strict=True):
        scale = float(want.abs().max()) if want.numel() else 0.0
        torch.testing.assert_close(got.cpu(), want, rtol=1e-4, atol=1e-4 * scale + 1e-7)
