"""TensorRT behind the interface of every back end; see ``trt_engine`` for what happens on the GPU.

Not verified on hardware: no machine with TensorRT and a GPU has run this module yet; see docs/tensorrt.md.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from m2a_core.bundle.loading import ModelBundle
from m2a_core.bundle.signing import require_signed
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ModelError
from m2a_core.ops.native_code import require_own
from m2a_core.runtime.base import Pending
from m2a_core.trt.engine import TensorRtEngine
from m2a_core.trt.engine_manifest import load_checked

_LOG = logging.getLogger("m2a.trt")


class TensorRtRuntime:
    """An engine of a bundle's graph.

    Attributes:
        input_size: H, W.
        is_accelerator: True.
    """

    is_accelerator = True

    def __init__(self, bundle: ModelBundle, backend: str, engine: Path | None = None, device: int = 0) -> None:
        """Check, load and, on the first load on a device, compare with ONNX Runtime's results.

        Args:
            bundle: a checked bundle.
            backend: ``tensorrt`` or ``tensorrt_rtx``.
            engine: the engine's file; None: beside the graph, as ``m2a build-engine`` writes it.
            device: index of the GPU.

        Raises:
            ModelError: the engine is missing, damaged, of another graph, back end, plugin or GPU, or out of tolerance;
                where signatures are asked for, it is neither signed nor only this user's and root's to write.
        """
        path = engine or default_engine(bundle.onnx_path)
        if bundle.signed is not None and path.name not in bundle.signed:
            # Built on this machine, after the bundle was signed.
            require_own(path)
        manifest = load_checked(path)
        if bundle.signed is not None and path.name in bundle.signed:
            require_signed(path, manifest.engine_sha256, bundle.signed)
        key = manifest.key
        if key.onnx_sha256 != bundle.manifest.onnx_sha256 or key.backend != backend:
            raise ModelError(
                f"{path}: built by {key.backend} from the graph with SHA-256 {key.onnx_sha256[:12]}..., wanted "
                f"{backend} and {bundle.manifest.onnx_sha256[:12]}... of {bundle.onnx_path}; build it with "
                "`m2a build-engine`"
            )
        from m2a_core.trt.plugin_build import ensure_plugin, find_built

        plugin = find_built(key.plugin_identity) or ensure_plugin()
        self._engine = TensorRtEngine(path, plugin, device, manifest)
        self.input_size = key.input_size
        if not self._engine.manifest.verified:
            self._verify(path)

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network; see ``Runtime.infer``."""
        return self._engine.submit(image[None], raw).result()[0]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """See ``Runtime.batch_sizes``; one image fills the smallest batch up, where the engine has no such size."""
        return tuple(sorted({1, *self._engine.manifest.key.batches}))

    def submit(self, images: np.ndarray, raw: bool = False) -> Pending:
        """Start the network on a batch; see ``TensorRtEngine.submit``."""
        return self._engine.submit(images, raw)

    def close(self) -> None:
        """Free everything on the GPU."""
        self._engine.close()

    def _verify(self, path: Path) -> None:
        from m2a_core.trt.verification import compare_loaded, keep_verified

        _LOG.warning("%s: first load on this device, comparing it with ONNX Runtime's results", path)
        try:
            verified = compare_loaded(self._engine)
        except BaseException:
            self._engine.close()
            raise
        batches = ", ".join(map(str, verified.verified_batches))
        _LOG.warning("%s: verified on device, batch sizes %s: %s", path, batches, verified.parity.describe())
        try:
            keep_verified(path, verified)
        except ModelError as error:
            # Vehicles' file systems are often read-only; the engine is as good.
            _LOG.warning("%s; the next load will compare again", error)


def default_engine(onnx_path: Path) -> Path:
    """Where the engine of a graph lies unless said otherwise."""
    return onnx_path.with_suffix(".engine")
