"""Image in, open-set result out: letterbox, network and heads in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.bundle.manifest import Manifest
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.head import OpenSetHead
from m2a_core.perception.perceiving import Perceiving, Steps
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Runtime, infer_images
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
        perceiving = self.begin(frame, wanted)
        self.run([perceiving])
        return self.finish(perceiving)

    def infer_raw(
        self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS, raw: bool = True
    ) -> tuple[OpenSetResult, NetworkOutput]:
        """Perceive one frame and also give the network's tensors, with the logits where ``raw``."""
        perceiving = self.begin(frame, wanted)
        self.run([perceiving], raw)
        network = perceiving.outputs[0]
        return self.finish(perceiving), network

    def begin(self, frame: Frame, wanted: frozenset[Output]) -> Perceiving:
        """Make a frame ready for the network: the first of the three steps of ``infer``."""
        return Perceiving(self._steps(frame, wanted))

    def run(self, frames: Sequence[Perceiving], raw: bool = False) -> None:
        """Run the network on frames that are ready, together where it takes batches: the second step.

        Raises:
            InferenceError: the network failed.
        """
        start = perf_counter()
        images = [image for frame in frames for image in frame.images]
        outputs = infer_images(self._runtime, images, raw)
        network_ms = 1e3 * (perf_counter() - start)
        for frame in frames:
            frame.outputs = outputs[: len(frame.images)]
            frame.laps_ms["network"] = frame.laps_ms.get("network", 0.0) + network_ms
            outputs = outputs[len(frame.images) :]

    def finish(self, frame: Perceiving) -> OpenSetResult:
        """Make the result of the network's answer: the last step.

        Raises:
            InferenceError: the network was needed once more, and failed.
        """
        while not frame.advance():
            self.run([frame])
        assert frame.result is not None
        return replace(frame.result, timings_ms=frame.laps_ms)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """See ``Runtime.batch_sizes``."""
        return self._runtime.batch_sizes

    @property
    def is_accelerated(self) -> bool:
        """Whether the network runs beside the processor; see ``Runtime.is_accelerator``."""
        return self._runtime.is_accelerator

    def _steps(self, frame: Frame, wanted: frozenset[Output]) -> Steps:
        """Yields images for the network, takes its outputs, and returns the result."""
        image, geometry = self._letterbox.apply(frame.image)
        (network,) = yield [image]
        return self._head.compute(network, geometry, wanted)

    def close(self) -> None:
        """Free the network."""
        self._runtime.close()
