"""A TensorRT engine with everything it needs on the GPU: buffers bound once, one stream, captured CUDA graphs.

Not verified on hardware: no machine with TensorRT and a GPU has run this module yet; see docs/tensorrt.md.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.contract.io_spec import CAMERA_OUTPUTS, FULL_MASKS, INPUT, OUTPUTS, RAW_OUTPUTS
from m2a_core.contract.network_output import NetworkOutput, require_finite
from m2a_core.errors import InferenceError, ModelError, NoGpuError
from m2a_core.trt.backend import Backend, load_backend
from m2a_core.trt.cuda import Buffer, call, constant, release
from m2a_core.trt.engine_manifest import EngineManifest, gpu_text, load_checked
from m2a_core.trt.gpu import Gpu, gpu_or_reason
from m2a_core.trt.lane import Lane, first_attribute
from m2a_core.trt.plugin_build import identity_of
from m2a_core.types import check_array

_LOG = logging.getLogger("m2a.trt")


class TensorRtEngine:
    """A loaded engine; one thread at a time may use it.

    Attributes:
        path: the engine's file.
        manifest: what lies beside it.
        scratch_bytes: memory of the GPU that its batch sizes share, beside weights, inputs and outputs.
    """

    def __init__(self, path: Path, plugin: Path, device: int = 0, manifest: EngineManifest | None = None) -> None:
        """Check, then load; nothing of the file is interpreted before its hash was found right.

        Args:
            path: the engine's file.
            plugin: the plugin's library.
            device: index of the GPU.
            manifest: as ``load_checked`` gave it before; None: that is done now.

        Raises:
            ModelError: a file is damaged or was changed meanwhile, or the engine is for another plugin, TensorRT or
                GPU; out of GPU memory.
        """
        self.path = path
        self.manifest = load_checked(path) if manifest is None else manifest
        self._device = device
        backend = load_backend(self.manifest.key.backend)
        check_fits(self.manifest, path, plugin, backend.version, gpu_or_reason(device))
        backend.load_plugin(plugin)
        if (loaded := backend.plugin_in_use) not in (None, plugin) and identity_of(loaded) != identity_of(plugin):
            raise ModelError(
                f"{path}: this process has another plugin, {loaded}, and TensorRT keeps it; start the process anew"
            )
        call("cudaSetDevice", device)
        self._backend: Backend = backend
        self._runtime: Any = None
        self._engine: Any = None
        self._buffers: dict[str, Buffer] = {}
        self._lanes: list[Lane] = []
        self._scratch = 0
        self.scratch_bytes = 0
        self._stream = call("cudaStreamCreateWithFlags", constant("cudaStreamNonBlocking"))
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def input_size(self) -> tuple[int, int]:
        """H, W."""
        return self.manifest.key.input_size

    def infer(self, images: np.ndarray, raw: bool = False) -> list[NetworkOutput]:
        """``submit`` and ``Pending.result`` in a row."""
        return self.submit(images, raw).result()

    def submit(self, images: np.ndarray, raw: bool = False) -> PendingBatch:
        """Start the network on the GPU; the batch before must have been waited for.

        A batch between the sizes that the engine has is filled up to the next one.

        Args:
            images: uint8 [B, H, W, 3], RGB.
            raw: also give the logits, and every query's mask at the input's size where the engine has it.

        Raises:
            DataError: the images are not uint8 [B, H, W, 3] at the input size.
            ModelError: raw outputs are asked for which the engine lacks.
            InferenceError: more images than the engine takes, the GPU failed, or scores are not finite.
            RestartNeededError: the process has lost the GPU.
        """
        check_array("network input", images, np.uint8, (None, *self.input_size, 3))
        count = len(images)
        lane = next((lane for lane in self._lanes if lane.batch >= count), None)
        if lane is None:
            raise InferenceError(
                f"{self.path}: {count} images at once, built for at most {self.manifest.key.batches[-1]}; build the "
                "engine with a larger --batch"
            )
        call("cudaSetDevice", self._device)
        optional = CAMERA_OUTPUTS + ((FULL_MASKS,) if raw else ())
        wanted = [spec.name for spec in OUTPUTS + (RAW_OUTPUTS if raw else ())]
        wanted += [spec.name for spec in optional if spec.name in self._buffers]
        if missing := [name for name in wanted if name not in self._buffers]:
            raise ModelError(f"{self.path}: the engine has no outputs {missing}; export its graph again to get them")
        image = self._buffers[INPUT.name]
        image.host[:count] = images
        image.upload(self._stream, image.bytes_of(count))
        lane.run(self._stream)
        for name in wanted:
            buffer = self._buffers[name]
            buffer.download(self._stream, buffer.bytes_of(count))
        return PendingBatch(self, wanted, count)

    def collect(self, wanted: list[str], count: int) -> list[NetworkOutput]:
        """Wait for the batch that was submitted; see ``PendingBatch``."""
        call("cudaSetDevice", self._device)
        call("cudaStreamSynchronize", self._stream)
        # Copies: the next frame overwrites the buffers.
        outputs = [NetworkOutput(**{n: self._buffers[n].host[i].copy() for n in wanted}) for i in range(count)]
        return [require_finite(output, self.path) for output in outputs]

    def close(self) -> None:
        """Free everything on the GPU; harmless when done before."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        release("cudaSetDevice", self._device)
        release("cudaStreamSynchronize", stream)
        for lane in self._lanes:
            lane.close()
        self._lanes.clear()
        # In this order: an engine outlives its contexts, a runtime its engines.
        self._engine = None
        self._runtime = None
        scratch, self._scratch = self._scratch, 0
        if scratch:
            release("cudaFree", scratch)
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers.clear()
        release("cudaStreamDestroy", stream)

    def _load(self) -> None:
        trt, key = self._backend.trt, self.manifest.key
        self._runtime = trt.Runtime(self._backend.logger)
        # What is loaded is what was checked, also where the file changes meanwhile.
        try:
            serialized = self.path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{self.path}: cannot be read ({error.strerror}); restore it, or build it again"
            ) from error
        if hashlib.sha256(serialized).hexdigest() != self.manifest.engine_sha256:
            raise ModelError(
                f"{self.path}: has changed since its SHA-256 was checked; load it again, or build it again"
            )
        self._engine = self._runtime.deserialize_cuda_engine(serialized)
        if self._engine is None:
            raise ModelError(
                f"{self.path}: {key.backend} {key.version} does not load the engine ({self._backend.take_errors()}); "
                "build it again on this machine with `m2a build-engine --rebuild`"
            )
        engine = self._engine
        found = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        missing = {spec.name for spec in (INPUT, *OUTPUTS)} - found
        if missing:
            raise ModelError(f"{self.path}: no tensors {sorted(missing)} in the engine; build it again")
        for name in found:
            shape = (key.batches[-1], *tuple(engine.get_tensor_shape(name))[1:])
            self._buffers[name] = Buffer(shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
        # The largest that any profile needs. Frames follow each other on one stream, so no two lanes use it at once.
        self.scratch_bytes = int(first_attribute(engine, "device_memory_size_v2", "device_memory_size"))
        self._scratch = int(call("cudaMalloc", self.scratch_bytes)) if self.scratch_bytes else 0
        for profile, batch in enumerate(key.batches):
            context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
            if context is None:
                raise ModelError(
                    f"{self.path}: no execution context ({self._backend.take_errors()}); is the GPU's memory full?"
                )
            lane = Lane(self._backend, context, batch)
            self._lanes.append(lane)
            context.set_optimization_profile_async(profile, int(self._stream))
            lane.lend(self._scratch, self.scratch_bytes)
            context.set_input_shape(INPUT.name, (batch, *key.input_size, 3))
            for name, buffer in self._buffers.items():
                context.set_tensor_address(name, buffer.device)
            lane.prepare(self._stream)
        tensors = sum(buffer.bytes for buffer in self._buffers.values())
        _LOG.info(
            "%s: on the GPU, beside the weights, %.1f MiB of scratch that batch sizes %s share, %.1f MiB of tensors",
            self.path,
            self.scratch_bytes / 2**20,
            ", ".join(map(str, key.batches)),
            tensors / 2**20,
        )


class PendingBatch:
    """A batch on the GPU; the host is free until ``result``."""

    def __init__(self, engine: TensorRtEngine, wanted: list[str], count: int) -> None:
        """Remember what was asked for: names of tensors, number of images."""
        self._engine, self._wanted, self._count = engine, wanted, count

    def result(self) -> list[NetworkOutput]:
        """Wait for it.

        Raises:
            InferenceError: the GPU failed, or scores are not finite.
            RestartNeededError: the process has lost the GPU.
        """
        return self._engine.collect(self._wanted, self._count)


def check_fits(manifest: EngineManifest, path: Path, plugin: Path, version: str, gpu: Gpu | NoGpuError) -> None:
    """Compare what an engine was built with to what is here.

    Args:
        manifest: the engine's.
        path: of the engine, for messages.
        plugin: the plugin's library here.
        version: of TensorRT here.
        gpu: the GPU here, or why there is none.

    Raises:
        ModelError: naming every difference.
    """
    key = manifest.key
    differences = []
    if key.version != version:
        differences.append(f"it was built with {key.backend} {key.version}, here is {version}")
    if not plugin.is_file():
        differences.append(f"its plugin library is missing: {plugin}")
    elif identity_of(plugin) != key.plugin_identity:
        differences.append(f"the plugin library {plugin} is of other sources, compiler or flags than it was built with")
    if isinstance(gpu, NoGpuError):
        differences.append(f"it is for {key.architecture}, here is no GPU that CUDA can use: {gpu}")
    elif gpu.architecture != key.architecture:
        differences.append(f"it is for {key.architecture}, the GPU here is {gpu.architecture} ({gpu.name})")
    elif key.gpu and not key.chosen_on(gpu.name, gpu.memory >> 20):
        here = gpu_text(gpu.name, gpu.memory >> 20)
        differences.append(f"its kernels were chosen on {gpu_text(key.gpu, key.gpu_memory)}, the GPU here is {here}")
    if differences:
        raise ModelError(
            f"{path}: this engine cannot run here: {'; '.join(differences)}. Build it on this machine "
            "with `m2a build-engine --rebuild`"
        )
