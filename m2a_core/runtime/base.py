"""The interface of every back end: images of the size that the graph takes in, its tensors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from m2a_core.contract.network_output import NetworkOutput


class Pending(Protocol):
    """A batch that a back end works on."""

    def result(self) -> list[NetworkOutput]:
        """Wait for it; one output per image.

        Raises:
            InferenceError: the back end failed, or its scores are not finite.
        """
        ...


class Runtime(Protocol):
    """A loaded network; one thread at a time may use it, with one batch at a time pending."""

    @property
    def input_size(self) -> tuple[int, int]:
        """H, W that images have, in pixels."""
        ...

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Numbers of images that it takes at once, ascending, 1 among them; more than 1 only where that is faster."""
        ...

    @property
    def is_accelerator(self) -> bool:
        """Whether it works beside the processor, which may then do other things."""
        ...

    def submit(self, images: np.ndarray, raw: bool = False) -> Pending:
        """Start the network on a batch.

        Args:
            images: uint8 [B, H, W, 3], RGB, at ``input_size``; B is one of ``batch_sizes``.
            raw: also give ``class_logits`` and ``mask_logits``, and ``full_masks`` where the graph has them.

        Raises:
            DataError: the images are not uint8 [B, H, W, 3] at the input size.
            InferenceError: the back end failed.
        """
        ...

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network on one image, uint8 [H, W, 3]; else as ``submit`` and ``Pending.result``."""
        ...

    def close(self) -> None:
        """Free the network; it must not be used afterwards."""
        ...


class Done:
    """The answer of a back end that has worked already when ``submit`` returns."""

    def __init__(self, outputs: list[NetworkOutput]) -> None:
        """Keep the answer."""
        self._outputs = outputs

    def result(self) -> list[NetworkOutput]:
        """See ``Pending.result``."""
        return self._outputs


def infer_images(
    runtime: Runtime, images: Sequence[np.ndarray], raw: bool = False, meanwhile: Callable[[], object] = lambda: None
) -> list[NetworkOutput]:
    """Run the network on any number of images, in batches of the sizes that it has: none is filled up.

    Args:
        runtime: the network.
        images: each uint8 [H, W, 3].
        raw: see ``Runtime.submit``.
        meanwhile: called once, when the back end has its first batch.

    Raises:
        InferenceError: see ``Runtime.submit``.
    """
    outputs: list[NetworkOutput] = []
    while len(outputs) < len(images):
        left = len(images) - len(outputs)
        size = max(size for size in runtime.batch_sizes if size <= left)
        batch = images[len(outputs) : len(outputs) + size]
        # A camera's own images are large: one alone is not copied.
        pending = runtime.submit(batch[0][None] if size == 1 else np.stack(batch), raw)
        try:
            if not outputs:
                meanwhile()
        finally:
            outputs += pending.result()
    return outputs
