"""The interface of every back end: one letterboxed image in, the graph's tensors out."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from m2a_core.contract.network_output import NetworkOutput


class Runtime(Protocol):
    """A loaded network."""

    @property
    def input_size(self) -> tuple[int, int]:
        """H, W that ``infer`` takes, in pixels."""
        ...

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network.

        Args:
            image: uint8 [H, W, 3], RGB, at ``input_size``.
            raw: also give ``class_logits`` and ``mask_logits``, and ``full_masks`` where the graph has them.

        Raises:
            DataError: the image is not uint8 [H, W, 3] at the input size.
            InferenceError: the back end failed, or its scores are not finite.
        """
        ...

    def close(self) -> None:
        """Free the network; ``infer`` must not be called afterwards."""
        ...
