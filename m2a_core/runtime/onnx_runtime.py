"""ONNX Runtime: on the CPU, unless other execution providers are named."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from m2a_core.bundle.loading import ModelBundle
from m2a_core.contract.io_spec import (
    CAMERA_INPUT,
    CAMERA_OUTPUTS,
    FULL_MASKS,
    INPUT,
    MASK_STRIDE,
    OUTPUTS,
    RAW_OUTPUTS,
    TensorSpec,
)
from m2a_core.contract.network_output import NetworkOutput, require_finite
from m2a_core.errors import InferenceError, ModelError
from m2a_core.runtime.base import Done
from m2a_core.types import check_array

_ORT_DTYPES = {
    "uint8": "tensor(uint8)",
    "int32": "tensor(int32)",
    "float32": "tensor(float)",
    "bool": "tensor(bool)",
}

Providers = Sequence[tuple[str, dict[str, str]]]
CPU: Providers = (("CPUExecutionProvider", {}),)


class OnnxRuntime:
    """Runs a bundle's ONNX graph; results repeat bit for bit for a given number of threads.

    Raises:
        ModelError: the file is not a valid graph, or its tensors are not those of ``io_spec`` and the manifest.
    """

    def __init__(
        self, bundle: ModelBundle, threads: int | None = None, spin: bool = False, providers: Providers = CPU
    ) -> None:
        """Load the graph and check its tensors.

        Args:
            bundle: see ``create_runtime``.
            threads: see ``create_runtime``.
            spin: see ``create_runtime``.
            providers: execution providers with their options, most wanted first.
        """
        self._path = bundle.onnx_path
        try:
            self._session = ort.InferenceSession(
                bundle.read_graph(), _session_options(threads, spin), providers=list(providers)
            )
        # ONNX Runtime's load errors share no base class narrower than these.
        except (RuntimeError, ValueError, NotImplementedError) + ort_errors() as error:
            raise ModelError(
                f"{bundle.onnx_path}: ONNX Runtime {ort.__version__} cannot load the graph "
                f"({_first_line(error)}); export it again with `m2a export` or update onnxruntime"
            ) from error
        # Left to itself, ONNX Runtime goes on with the CPU for good when another provider fails on a frame.
        self._session.disable_fallback()
        manifest = bundle.manifest
        height, width = manifest.input_size
        sizes = {
            "B": 1,
            "H": height,
            "W": width,
            "H0": manifest.graph_size[0],
            "W0": manifest.graph_size[1],
            "h": height // MASK_STRIDE,
            "w": width // MASK_STRIDE,
            "3": 3,
            "Q": manifest.num_queries,
            "K+1": manifest.labels.num_classes + 1,
        }
        self.input_size = manifest.graph_size
        # Two images at once take a processor as long as one after the other.
        self.batch_sizes: tuple[int, ...] = (1,)
        self.is_accelerator = False
        takes = INPUT if manifest.camera is None else CAMERA_INPUT
        self._outputs: tuple[TensorSpec, ...] = OUTPUTS if manifest.camera is None else OUTPUTS + CAMERA_OUTPUTS
        self._check("input", (takes,), self._session.get_inputs(), sizes)
        self._check("output", self._outputs, self._session.get_outputs(), sizes)
        names = {o.name for o in self._session.get_outputs()}
        self._raw: tuple[TensorSpec, ...] = RAW_OUTPUTS if names >= {spec.name for spec in RAW_OUTPUTS} else ()
        if self._raw and FULL_MASKS.name in names:
            self._raw += (FULL_MASKS,)
        self._check("output", self._raw, self._session.get_outputs(), sizes)

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in use; ONNX Runtime leaves out those that do not load."""
        return tuple(self._session.get_providers())

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network; see ``Runtime.infer``."""
        check_array("network input", image, np.uint8, (*self.input_size, 3))
        return self._run(image[None], raw)[0]

    def submit(self, images: np.ndarray, raw: bool = False) -> Done:
        """Run the network on a batch, where the graph was exported for it; see ``Runtime.submit``."""
        check_array("network input", images, np.uint8, (None, *self.input_size, 3))
        return Done(self._run(images, raw))

    def _run(self, images: np.ndarray, raw: bool) -> list[NetworkOutput]:
        if raw and not self._raw:
            raise ModelError(
                f"{self._path}: the graph has no outputs {[s.name for s in RAW_OUTPUTS]}; export it again to get them"
            )
        names = [spec.name for spec in self._outputs + (self._raw if raw else ())]
        try:
            values = self._session.run(names, {INPUT.name: np.ascontiguousarray(images)})
        except (RuntimeError, ValueError) + ort_errors() as error:
            raise InferenceError(f"{self._path}: ONNX Runtime failed on a frame ({_first_line(error)})") from error
        return [
            require_finite(NetworkOutput(**{n: v[i] for n, v in zip(names, values, strict=True)}), self._path)
            for i in range(len(images))
        ]

    def close(self) -> None:
        """Free the session."""
        del self._session

    def _check(self, kind: str, specs: tuple[TensorSpec, ...], found: list[ort.NodeArg], sizes: dict[str, int]) -> None:
        tensors = {arg.name: arg for arg in found}
        for spec in specs:
            shape = [sizes[axis] for axis in spec.shape]
            arg = tensors.get(spec.name)
            if arg is None:
                raise ModelError(
                    f"{self._path}: no {kind} named '{spec.name}' ({spec.meaning}); the graph has {sorted(tensors)}. "
                    "It is not an m2a graph: export one with `m2a export`"
                )
            # A graph for batches calls its first axis by a name.
            found_shape = [1, *arg.shape[1:]] if arg.shape and isinstance(arg.shape[0], str) else list(arg.shape)
            if arg.type != _ORT_DTYPES[spec.dtype] or found_shape != shape:
                raise ModelError(
                    f"{self._path}: {kind} '{spec.name}' is {arg.type} {arg.shape}, the manifest and the contract "
                    f"expect {_ORT_DTYPES[spec.dtype]} {shape}; the manifest belongs to another graph: export it again"
                )


def _session_options(threads: int | None, spin: bool = False) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Left to itself, ONNX Runtime takes one thread per physical core: half of two hyper-threads, at 0.6 of the speed.
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Left to itself, it takes bytes that begin like its own format for that, which nothing here looks through.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Spinning threads take the cores that the camera driver and the rest of the vehicle need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return options


def ort_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own errors, which share no base class narrower than Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
        "EPFail",
        "ModelLoadCanceled",
    )
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
