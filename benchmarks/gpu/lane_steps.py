"""m2a's TensorRT runtime on the real CUDA binding, with a TensorRT that is not there: lanes, buffers, graphs.

The engine of this TensorRT launches the deformable-attention kernel into the scratch memory that lanes share, copies
the result into the anomaly map and the image's first bytes into the class map: enough to see that every image of every
batch goes up, through the right lane, and down again. On the CPU the binding is the tests' fake.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.gpu.record import Row, Skipped
from benchmarks.gpu.timing import Device
from m2a_core.bundle.loading import sha256_of
from m2a_core.contract.io_spec import INPUT, OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import NoGpuError
from m2a_core.metrics.parity import compare
from m2a_core.ops.kernel_library import KernelLibrary, _Call
from m2a_core.trt.cuda import call, constant
from m2a_core.trt.engine import TensorRtEngine
from m2a_core.trt.engine_manifest import NOT_VERIFIED, EngineKey, EngineManifest, manifest_path, reference_path
from m2a_core.trt.gpu import gpu_or_reason
from m2a_core.trt.reference import save_reference
from test.ops.cases import CASES, POINTS, tolerance
from test.ops.reference import deformable_attention

CASE = next(case for case in CASES if case.name == "edge pyramid")
SIZE = (96, 128)
BATCHES = (1, 2, 4)
SIDES = {"B": -1, "H": 96, "W": 128, "h": 24, "w": 32, "Q": 5, "K+1": 4, "3": 3}
IDENTITY = 64 * "0"


class Context:
    """An execution context."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        """As TensorRT's."""
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        """As TensorRT's."""
        self.scratch = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """As TensorRT's."""
        self.batch = shape[0]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        """As TensorRT's."""
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """As TensorRT's."""
        self.engine.launch(lambda: self.engine.work(self, stream))
        return True


class Engine:
    """An engine; `launch` does the work or, on the fake, notes it while a graph is captured."""

    def __init__(self, library: KernelLibrary, launch: Callable[[Callable[[], None]], Any]) -> None:
        self.library, self.launch = library, launch
        self.value, self.projection = CASE.inputs(np.float32)
        self.image_bytes = self.value.nbytes
        self.specs = {spec.name: spec for spec in (INPUT, *OUTPUTS)}
        self.zeros = max(_bytes_of(spec.name) for spec in OUTPUTS)
        self.device_memory_size_v2 = BATCHES[-1] * self.image_bytes
        self.owned = [_upload(np.concatenate(BATCHES[-1] * [x])) for x in (self.value, self.projection)]
        self.owned.append(_upload(np.zeros(BATCHES[-1] * self.zeros, np.uint8)))

    @property
    def num_io_tensors(self) -> int:
        """As TensorRT's."""
        return len(self.specs)

    def get_tensor_name(self, index: int) -> str:
        """As TensorRT's."""
        return list(self.specs)[index]

    def get_tensor_shape(self, name: str) -> list[int]:
        """As TensorRT's."""
        return [SIDES[side] for side in self.specs[name].shape]

    def get_tensor_dtype(self, name: str) -> str:
        """As TensorRT's."""
        return self.specs[name].dtype

    def create_execution_context(self, strategy: object) -> Context:
        """As TensorRT's."""
        return Context(self)

    def work(self, context: Context, stream: int) -> None:
        """What a run enqueues."""
        sides = (ctypes.c_int32 * 8)(*(side for shape in CASE.shapes for side in shape))
        description = _Call(0, context.batch, CASE.heads, CASE.dim, len(CASE.shapes), POINTS, sides)
        function = self.library._library.m2a_deform_attn_forward
        code = function(description, self.owned[0], self.owned[1], context.scratch, stream)
        if code:
            raise RuntimeError(self.library._library.m2a_deform_attn_error(code).decode())
        for spec in OUTPUTS:
            _copy(context.addresses[spec.name], self.owned[2], context.batch * _bytes_of(spec.name), stream)
        pixels = SIZE[0] * SIZE[1]
        for i in range(context.batch):
            anomaly, semantic = (context.addresses[name] for name in ("anomaly", "semantic"))
            _copy(anomaly + 4 * pixels * i, context.scratch + self.image_bytes * i, self.image_bytes, stream)
            _copy(semantic + pixels * i, context.addresses[INPUT.name] + 3 * pixels * i, pixels, stream)


def run_lanes(library: KernelLibrary, device: Device) -> Iterator[Row]:
    """Every count of images up to the largest batch, twice, and all memory given back."""
    with ExitStack() as stack:
        launch: Callable[[Callable[[], None]], Any] = lambda work: work()  # noqa: E731
        if device.name == "cpu":
            from test.runtime.fake_cuda import FakeCuda

            fake = FakeCuda()
            launch = fake.launch
            for module in ("cuda", "gpu"):
                stack.enter_context(patch(f"m2a_core.trt.{module}.load_binding", lambda: fake))
        gpu = gpu_or_reason(0)
        if isinstance(gpu, NoGpuError):
            raise Skipped(str(gpu))
        call("cudaSetDevice", 0)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = Engine(library, launch)
        backend = SimpleNamespace(
            version="none",
            logger=None,
            load_plugin=lambda _: None,
            plugin_in_use=None,
            take_errors=lambda: "no reason",
            trt=SimpleNamespace(
                nptype=np.dtype,
                ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=None),
                Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda _: engine),
            ),
        )
        stack.enter_context(patch("m2a_core.trt.engine.load_backend", lambda _: backend))
        path, plugin = write_files(folder, gpu.architecture)
        loaded = TensorRtEngine(path, plugin)
        try:
            yield from _compare(loaded, engine)
        finally:
            loaded.close()
            for address in engine.owned:
                call("cudaFree", address)
        if device.name == "cpu":
            left = len(fake.memory) + len(fake.graphs)
            yield {"allocations and graphs left": left, "ok": left == 0}


def _compare(loaded: TensorRtEngine, engine: Engine) -> Iterator[Row]:
    want = deformable_attention(engine.value, engine.projection, CASE.shapes, POINTS)
    limit = tolerance(want, engine.value, CASE.shapes).ravel()
    yield {"lanes": [lane.batch for lane in loaded._lanes], "captured": [bool(lane._graph) for lane in loaded._lanes]}
    rng = np.random.default_rng(0)
    for count in 2 * list(range(1, BATCHES[-1] + 1)):
        images = rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
        right = []
        for image, output in zip(images, loaded.infer(images), strict=True):
            kernel = output.anomaly.ravel()[: want.size]
            right.append(bool((np.abs(kernel - want.ravel()) <= limit).all()))
            right.append(np.array_equal(output.semantic.ravel(), image.ravel()[: output.semantic.size]))
            right.append(not output.refined.any())
        yield {"images": count, "ok": all(right)}


def write_files(folder: Path, architecture: str) -> tuple[Path, Path]:
    """An engine's files, which hold together, and a plugin library that says what it is."""
    engine, plugin = folder / "lanes.engine", folder / "plugin.so"
    engine.write_bytes(b"not read")
    plugin.write_bytes(f"m2a-plugin-identity:{IDENTITY}".encode())
    shapes = {spec.name: [SIDES[side] for side in spec.shape[1:]] for spec in OUTPUTS}
    output = NetworkOutput(**{spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in OUTPUTS})
    save_reference(reference_path(engine), [np.zeros((*SIZE, 3), np.uint8)], [output])
    key = EngineKey("0" * 64, IDENTITY, "tensorrt", "none", architecture, "", 0, "fp32", SIZE, BATCHES)
    digests = sha256_of(engine), sha256_of(reference_path(engine))
    EngineManifest(key, *digests, (), compare([output], [output]), NOT_VERIFIED, 0.0).save(manifest_path(engine))
    return engine, plugin


def _bytes_of(name: str) -> int:
    """Of one image's share of an output."""
    spec = next(spec for spec in OUTPUTS if spec.name == name)
    return int(np.prod([SIDES[side] for side in spec.shape[1:]])) * np.dtype(spec.dtype).itemsize


def _upload(array: np.ndarray) -> int:
    address = int(call("cudaMalloc", array.nbytes))
    stream = call("cudaStreamCreateWithFlags", constant("cudaStreamNonBlocking"))
    kind = constant("cudaMemcpyHostToDevice", "cudaMemcpyKind")
    call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)
    call("cudaStreamSynchronize", stream)
    call("cudaStreamDestroy", stream)
    return address


def _copy(to: int, source: int, size: int, stream: int) -> None:
    call("cudaMemcpyAsync", to, source, size, constant("cudaMemcpyDeviceToDevice", "cudaMemcpyKind"), stream)
