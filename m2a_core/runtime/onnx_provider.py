"""ONNX Runtime with another execution provider than its own for CPUs: no engine to build, no plugin.

CUDA's and TensorRT's run on NVIDIA GPUs, OpenVINO's on Intel processors. The graph's portable body of the deformable
attention is used, which on a GPU is slower than the plugin's kernel.

CUDA's and TensorRT's are not verified on hardware: no machine with a GPU has run them yet; see docs/tensorrt.md.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime as ort

from m2a_core.bundle.loading import ModelBundle, shipped_frames
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import InferenceError, ModelError, RestartNeededError, ToleranceError
from m2a_core.images import read_image
from m2a_core.metrics.parity import TOLERANCES, camera_violations, compare
from m2a_core.ops.native_code import make_own_folder
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Pending
from m2a_core.runtime.onnx_runtime import CPU, OnnxRuntime, Providers

CUDA, TENSORRT, OPENVINO = "onnxruntime_cuda", "onnxruntime_tensorrt", "onnxruntime_openvino"
PROVIDER_NAMES = {
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
    OPENVINO: "OpenVINOExecutionProvider",
}
_PACKAGES = {CUDA: "onnxruntime-gpu", TENSORRT: "onnxruntime-gpu", OPENVINO: "onnxruntime-openvino"}
_CACHE = Path.home() / ".cache" / "m2a" / "onnxruntime"
_COMPARED = 2
_LOST = re.compile(r"CUDA failure (214|70[02]|71[0456789])\b")
"""CUDA's errors after which a process must start again, as ONNX Runtime words them; see ``m2a_core.trt.cuda``."""
_LOG = logging.getLogger("m2a.onnxruntime")


class OnnxProviderRuntime:
    """A bundle's graph with the execution provider of a back end.

    Attributes:
        input_size: H, W.
        batch_sizes: (1,).
        is_accelerator: whether it is a GPU's.
    """

    batch_sizes: tuple[int, ...] = (1,)

    def __init__(self, bundle: ModelBundle, backend: str, threads: int | None = None, device: int = 0) -> None:
        """Load, see that the provider is used indeed, and compare with ONNX Runtime's own on frames that ship.

        Args:
            bundle: a checked bundle.
            backend: ``CUDA``, ``TENSORRT`` or ``OPENVINO``.
            threads: for what runs on the CPU; None takes all cores.
            device: index of the GPU.

        Raises:
            ModelError: this ONNX Runtime has no such provider, it does not load, or not the graph.
            ToleranceError: results are too far from those of ONNX Runtime's own provider for CPUs.
        """
        name = PROVIDER_NAMES[backend]
        available = ort.get_available_providers()
        if name not in available:
            raise ModelError(
                f"back end {backend}: the installed onnxruntime {ort.__version__} has no {name} (it has "
                f"{', '.join(available)}). The packages are one Python module, so: pip uninstall onnxruntime, then pip "
                f"install {_PACKAGES[backend]}"
            )
        if backend == TENSORRT:
            # ONNX Runtime would make it writable by whom the umask says, beside libraries that are refused then.
            with suppress(OSError):
                make_own_folder(_cache_of(bundle))
        self._runtime = OnnxRuntime(bundle, threads, providers=providers(backend, bundle, threads, device))
        self.input_size = self._runtime.input_size
        self.is_accelerator = backend != OPENVINO
        self._thread = ThreadPoolExecutor(1, "m2a_onnxruntime")
        try:
            used = self._runtime.providers
            if name not in used:
                raise ModelError(
                    f"back end {backend}: {name} does not load, ONNX Runtime would use {', '.join(used)}; what it "
                    f"printed names the missing library. On a GPU it needs the versions of CUDA and cuDNN that this "
                    f"{_PACKAGES[backend]} was made for, TensorRT's libraries for its provider, and a driver that fits"
                )
            _verify(self._runtime, OnnxRuntime(bundle, threads), f"{bundle.onnx_path}: on {name}")
        except BaseException:
            self.close()
            raise

    def submit(self, images: np.ndarray, raw: bool = False) -> Pending:
        """Start the network on a batch; see ``Runtime.submit``."""
        if not self.is_accelerator:
            return self._runtime.submit(images, raw)
        return self._thread.submit(self._answer, images, raw)

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network on one image; see ``Runtime.infer``."""
        return self._answer(image[None], raw)[0]

    def _answer(self, images: np.ndarray, raw: bool) -> list[NetworkOutput]:
        try:
            return self._runtime.submit(images, raw).result()
        except InferenceError as error:
            if _LOST.search(str(error)):
                raise RestartNeededError(f"{error}; this process has lost the GPU: restart needed") from error
            raise

    def close(self) -> None:
        """Free the session."""
        self._thread.shutdown()
        self._runtime.close()


def providers(backend: str, bundle: ModelBundle, threads: int | None, device: int) -> Providers:
    """Execution providers of a back end with their options; the CPU's takes what the others leave.

    Args:
        backend: ``CUDA``, ``TENSORRT`` or ``OPENVINO``.
        bundle: the model, which caches are kept apart by.
        threads: for OpenVINO; None takes all cores.
        device: index of the GPU.
    """
    if backend == OPENVINO:
        # Left to itself it computes in bfloat16 on processors that have it, which the gate refuses.
        openvino = {"device_type": "CPU", "precision": "FP32"}
        return [(PROVIDER_NAMES[OPENVINO], openvino | ({"num_of_threads": str(threads)} if threads else {})), *CPU]
    cuda = {
        "device_id": str(device),
        # It grows by what is needed, not to the next power of two: boards share their memory with the processor.
        "arena_extend_strategy": "kSameAsRequested",
        # TensorFloat-32 keeps 10 bits: not what a single-precision graph gives elsewhere.
        "use_tf32": "0",
    }
    found = [(PROVIDER_NAMES[CUDA], cuda), *CPU]
    if backend == TENSORRT:
        cache = _cache_of(bundle)
        tensorrt = {
            "device_id": str(device),
            # Building takes minutes; ONNX Runtime names its files after graph, GPU and TensorRT.
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(cache),
            # Some releases compile deformable attention made of it wrongly (NVIDIA/TensorRT issue 4813).
            "trt_op_types_to_exclude": "GridSample",
        }
        found.insert(0, (PROVIDER_NAMES[TENSORRT], tensorrt))
    return found


def _cache_of(bundle: ModelBundle) -> Path:
    return _CACHE / bundle.manifest.onnx_sha256[:16]


def _verify(got: OnnxRuntime, reference: OnnxRuntime, what: str) -> None:
    """The gate that every engine passes, on frames that ship."""
    paths = sorted(shipped_frames().iterdir())
    images = [Letterbox(got.input_size).apply(read_image(path))[0] for path in paths[:: len(paths) // _COMPARED]]
    answers, wanted = ([runtime.infer(image) for image in images] for runtime in (got, reference))
    parity = compare(answers, wanted)
    reference.close()
    # The limits of half precision: convolutions add up in another order, and masks gate the attention.
    violations = parity.violations(TOLERANCES["mixed"]) + camera_violations(answers, wanted)
    if violations:
        raise ToleranceError(
            f"{what}, results are too far from the CPU's ({'; '.join(violations)}); use another back end"
        )
    _LOG.info("%s, %s", what, parity.describe())
