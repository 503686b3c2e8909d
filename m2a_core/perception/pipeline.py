"""Image in, open-set result out: letterbox, network and heads in a row, with a second look at the road's far end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.bundle.manifest import Manifest
from m2a_core.bundle.signing import ANYBODY, Trust
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.decision import decide
from m2a_core.openset.head import OpenSetHead
from m2a_core.perception import horizon as hz
from m2a_core.perception.merge import merge_views
from m2a_core.perception.task import PerceptionTask, Steps
from m2a_core.preprocess import Geometry, Letterbox
from m2a_core.runtime.base import Runtime, infer_images
from m2a_core.runtime.factory import create_runtime
from m2a_core.types import ALL_OUTPUTS, FarEnd, Frame, Horizon, OpenSetResult, Output

NO_ROAD = (
    "none of its classes is the road: no second look at the road's far end, refined_road is refined, and nothing is "
    "said of what stands on the road"
)


WHOLE_IMAGES_ONLY = "its graph takes a camera's whole images: no second look at the road's far end"
NOT_ON_A_PROCESSOR = (
    "its graph holds the letterbox, which costs a processor more there than beside the graph; where no accelerator "
    "runs it, name the bundle that it was made of"
)


def _nothing() -> None:
    """What there is to do while an accelerator works, where nobody says otherwise."""


class Perception:
    """A loaded model, ready for frames of any size."""

    def __init__(
        self, manifest: Manifest, runtime: Runtime, low_threshold: float | None = None, horizon: bool = True
    ) -> None:
        """Join a manifest and the runtime of its network.

        Args:
            manifest: says what the network is.
            runtime: runs it.
            low_threshold: see ``OpenSetHead``.
            horizon: look a second time at the road's far end, where the image holds more detail than the network sees
                in the whole of it, and the model knows a road.
        """
        self.manifest = manifest
        self._runtime = runtime
        self._letterbox = Letterbox(manifest.input_size)
        # The graph of a camera takes nothing but whole images.
        self._horizon = horizon and manifest.labels.road is not None and manifest.camera is None
        self._head = OpenSetHead(
            manifest.labels, manifest.thresholds, low_threshold=low_threshold, decision=manifest.decision
        )

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        backend: str = "onnxruntime",
        threads: int | None = None,
        spin: bool = False,
        horizon: bool = True,
        trust: Trust = ANYBODY,
    ) -> Perception:
        """Load a model bundle.

        Args:
            name_or_path: see ``load_bundle``.
            backend: see ``create_runtime``.
            threads: CPU threads for one inference; None for all cores.
            spin: see ``create_runtime``; for batch work.
            horizon: see ``__init__``.
            trust: see ``load_bundle``.

        Raises:
            ModelError: the bundle is missing, corrupt or does not match its manifest.
            ConfigError: the back end is unknown or ``threads`` is below 1.
        """
        bundle = load_bundle(name_or_path, trust)
        return cls(bundle.manifest, create_runtime(bundle, backend, threads, spin=spin), horizon=horizon)

    @property
    def labels(self) -> LabelSet:
        """The classes the model knows."""
        return self.manifest.labels

    def infer(self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS, last: FarEnd | None = None) -> OpenSetResult:
        """Perceive one frame.

        Args:
            frame: the image, any size.
            wanted: the outputs to compute.
            last: of the result before, in a stream of frames: the window at the road's far end then keeps still.

        Returns:
            Maps at the image's own size, with ``timings_ms`` for ``preprocess``, ``network`` and ``heads``.

        Raises:
            InferenceError: the network failed.
        """
        task = self.begin(frame, wanted, last)
        self.run([task])
        return self.finish(task)

    def infer_raw(
        self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS, raw: bool = True
    ) -> tuple[OpenSetResult, NetworkOutput]:
        """Perceive one frame and also give the network's tensors of the whole image, with the logits where ``raw``."""
        task = self.begin(frame, wanted)
        self.run([task], raw)
        network = task.outputs[0]
        return self.finish(task), network

    def begin(
        self,
        frame: Frame,
        wanted: frozenset[Output],
        last: FarEnd | None = None,
        size: tuple[int, int] | None = None,
    ) -> PerceptionTask:
        """Make a frame ready for the network: the first of the three steps of ``infer``.

        Args:
            frame: the image, any size.
            wanted: the outputs to compute.
            last: see ``infer``.
            size: height, width of the maps; None for the image's own.

        Raises:
            DataError: the model's graph takes a camera's images, and this one has another size.
        """
        return PerceptionTask(self._steps(frame, wanted, last, size))

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in which the network sees an image of this height and width."""
        return self._letterbox.geometry(height, width).valid

    def camera_mask(self, network: NetworkOutput) -> np.ndarray | None:
        """The open-set mask that the graph made at the camera's size; None without one, or by another threshold."""
        camera = self.manifest.camera
        is_ours = camera is not None and camera.threshold == self.manifest.thresholds.anomaly
        return network.open_set if is_ours else None

    def run(
        self, frames: Sequence[PerceptionTask], raw: bool = False, meanwhile: Callable[[], object] = _nothing
    ) -> None:
        """Run the network on frames that are ready, together where it takes batches: the second step.

        All of the network's work is done here: one thread at a time may use it.

        Args:
            frames: that are ready, or that it failed on before.
            raw: see ``infer_raw``.
            meanwhile: called once, while an accelerator works.

        Raises:
            InferenceError: the network failed.
        """
        while waiting := [frame for frame in frames if frame.images]:
            start = perf_counter()
            images = [image for frame in waiting for image in frame.images]
            outputs = infer_images(self._runtime, images, raw, meanwhile)
            meanwhile = _nothing
            network_ms = 1e3 * (perf_counter() - start)
            for frame in waiting:
                seen, outputs = outputs[: len(frame.images)], outputs[len(frame.images) :]
                frame.laps_ms["network"] = frame.laps_ms.get("network", 0.0) + network_ms
                frame.answered(seen)

    def finish(self, frame: PerceptionTask) -> OpenSetResult:
        """Make the result of the network's answer: the last step."""
        return replace(frame.result(), timings_ms=frame.laps_ms)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """See ``Runtime.batch_sizes``."""
        return self._runtime.batch_sizes

    @property
    def is_accelerated(self) -> bool:
        """Whether the network runs beside the processor; see ``Runtime.is_accelerator``."""
        return self._runtime.is_accelerator

    def _steps(
        self, frame: Frame, wanted: frozenset[Output], last: FarEnd | None, size: tuple[int, int] | None
    ) -> Steps:
        """Yields images for the network, takes its outputs, and returns the result."""
        if self.manifest.camera is not None:
            geometry = self._letterbox.geometry(*frame.image.shape[:2])
            (network,) = yield [self.manifest.camera.of(frame.image)]
            yield ()
            result, mask = self._head.compute(network, geometry, wanted, size, frame.image), self.camera_mask(network)
            is_replaced = (
                mask is not None and size is None and result.open_set is not None and not result.score_by_color
            )
            return replace(result, open_set=mask) if is_replaced else result
        image, geometry = self._letterbox.apply(frame.image)
        if not (self._horizon and hz.has_detail(geometry)):
            (network,) = yield [image]
            yield ()
            return self._head.compute(network, geometry, wanted, size, frame.image)
        canvas = hz.canvas_of(geometry)
        target = hz.held(last, frame.stamp_ns, geometry.original)
        if target is None:
            (whole,) = yield [image]
            target = hz.steady(None, self._far_end(whole, geometry))
            placement, box, closer = self._window(frame, target, geometry)
            (window,) = yield [closer]
        else:
            # Placed by the road as the frame before saw it, so that both views can go as one batch.
            placement, box, closer = self._window(frame, target, geometry)
            whole, window = yield [image, closer]
        yield ()
        decision = self.manifest.decision
        view = merge_views(decide(whole, decision), decide(window, decision), placement, geometry.valid)
        y, x = hz.steady(target, self._far_end(whole, geometry))
        horizon = Horizon(box, FarEnd(y, x, frame.stamp_ns, geometry.original))
        return replace(self._head.compute_view(view, canvas, wanted, size, frame.image), horizon=horizon)

    def _window(
        self, frame: Frame, target: tuple[float, float], geometry: Geometry
    ) -> tuple[hz.Placement, tuple[int, int, int, int], np.ndarray]:
        """Where the window lies, on the canvas and in the image, and what the network is to see of it."""
        placement = hz.place_window(target, geometry, self._letterbox.input_size)
        x0, y0, x1, y1 = box = hz.box_of(placement, hz.canvas_of(geometry))
        return placement, box, self._letterbox.fit(frame.image[y0:y1, x0:x1], (placement.height, placement.width))

    def _far_end(self, network: NetworkOutput, geometry: Geometry) -> tuple[float, float] | None:
        height, width = geometry.valid
        return hz.far_end(network.semantic[:height, :width] == self.manifest.labels.road)

    def close(self) -> None:
        """Free the network."""
        self._runtime.close()
