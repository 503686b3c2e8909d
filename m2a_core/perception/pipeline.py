"""Image in, open-set result out: letterbox, network and heads in a row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.bundle.manifest import Manifest
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.head import OpenSetHead
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Runtime
from m2a_core.runtime.factory import create_runtime
from m2a_core.types import ALL_OUTPUTS, Frame, OpenSetResult, Output


class Perception:
    """A loaded model, ready for frames of any size."""

    def __init__(self, manifest: Manifest, runtime: Runtime, hold: float | None = None) -> None:
        """Join a manifest and the runtime of its network.

        Args:
            manifest: says what the network is.
            runtime: runs it.
            hold: see ``OpenSetHead``.
        """
        self.manifest = manifest
        self._runtime = runtime
        self._letterbox = Letterbox(runtime.input_size)
        self._head = OpenSetHead(manifest.labels, manifest.thresholds, hold=hold, decision=manifest.decision)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        backend: str = "onnxruntime",
        threads: int | None = None,
        spin: bool = False,
    ) -> Perception:
        """Load a model bundle.

        Args:
            name_or_path: see ``load_bundle``.
            backend: see ``create_runtime``.
            threads: CPU threads for one inference; None for all cores.
            spin: see ``create_runtime``; for batch work.

        Raises:
            EngineError: the bundle is missing, corrupt or does not match its manifest.
            ConfigError: the back end is unknown or ``threads`` is below 1.
        """
        bundle = load_bundle(name_or_path)
        return cls(bundle.manifest, create_runtime(bundle, backend, threads, spin=spin))

    @property
    def labels(self) -> LabelSet:
        """The classes the model knows."""
        return self.manifest.labels

    def infer(self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS) -> OpenSetResult:
        """Perceive one frame.

        Args:
            frame: the image, any size.
            wanted: the outputs to compute.

        Returns:
            Maps at the image's own size, with ``timings_ms`` for ``preprocess``, ``network`` and ``heads``.

        Raises:
            InferenceError: the network failed.
        """
        return self.infer_raw(frame, wanted, raw=False)[0]

    def infer_raw(
        self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS, raw: bool = True
    ) -> tuple[OpenSetResult, NetworkOutput]:
        """Perceive one frame and also give the network's tensors, with the logits where ``raw``."""
        start = perf_counter()
        image, geometry = self._letterbox.apply(frame.image)
        prepared = perf_counter()
        network = self._runtime.infer(image, raw)
        inferred = perf_counter()
        result = self._head.compute(network, geometry, wanted)
        done = perf_counter()
        timings = {
            "preprocess": 1e3 * (prepared - start),
            "network": 1e3 * (inferred - prepared),
            "heads": 1e3 * (done - inferred),
        }
        return replace(result, timings_ms=timings), network

    def close(self) -> None:
        """Free the network."""
        self._runtime.close()
