"""A TensorRT for machines without a GPU: an engine whose runs are ONNX Runtime's, image by image, on a fake CUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from test.runtime.fake_cuda import FakeCuda

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
SCRATCH = 3 * 2**20

Damage = Callable[[str, np.ndarray], np.ndarray]
"""Output's name and values [B, ...] to what a faulty engine would give instead."""


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.scratch: tuple[int, int] | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream == 0x1000
        self.profile = profile
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        self.scratch = address, size

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch is not None, "a context without memory was run"
        return self.engine.cuda.launch(self._run)

    def _run(self) -> None:
        images = np.frombuffer(
            (ctypes.c_char * int(np.prod(self.shape))).from_address(self.addresses["image"]), np.uint8
        ).reshape(self.shape)
        session = self.engine.session
        names = [output.name for output in session.get_outputs()]
        each = [session.run(names, {"image": image[None]}) for image in images]
        for name, *values in zip(names, *each, strict=True):
            batch = self.engine.damage.get(self.profile, lambda _, v: v)(name, np.concatenate(values))
            ctypes.memmove(self.addresses[name], np.ascontiguousarray(batch).ctypes.data, batch.nbytes)


class FakeEngine:
    """
    Attributes:
        damage: what goes wrong, by profile.
        contexts: those made.
    """

    device_memory_size_v2 = SCRATCH

    def __init__(self, graph: bytes, cuda: FakeCuda, damage: dict[int, Damage]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.cuda, self.damage = cuda, damage
        self.contexts: list[FakeContext] = []
        self._tensors = {t.name: t for t in [*self.session.get_inputs(), *self.session.get_outputs()]}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1, *self._tensors[name].shape[1:]]

    def get_tensor_dtype(self, name: str) -> str:
        return self._tensors[name].type

    def create_execution_context(self, strategy: str) -> FakeContext:
        assert strategy == "user managed", "the context would allocate memory of its own"
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeBackend:
    """In the place of ``m2a_core.trt.backend.Backend``; the "engine" is read as ONNX."""

    version = "1.0"
    logger = None
    plugin_in_use: Path | None = None

    def __init__(self, graph: bytes, cuda: FakeCuda, damage: dict[int, Damage]) -> None:
        self.engines: list[FakeEngine] = []

        def deserialise(_: bytes) -> FakeEngine:
            self.engines.append(FakeEngine(graph, cuda, damage))
            return self.engines[-1]

        self.trt: Any = SimpleNamespace(
            nptype=_DTYPES.__getitem__,
            ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=deserialise),
        )

    def load_plugin(self, library: Any) -> None:
        pass

    def take_errors(self) -> str:
        return "the reason"
