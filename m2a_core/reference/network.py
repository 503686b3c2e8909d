"""In PyTorch: a checkpoint's own network on images of any size, as the authors run it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from m2a_core.errors import DataError, InferenceError
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from m2a_core.types import check_array

MULTIPLE = 32
"""The network's input is a multiple of this; what is missing is padded with zeros after normalisation."""

_NETWORK_BYTES = 1200
"""Peak memory of the networks per input pixel: ResNet-50 takes 700 (measured), Swin-L 1000 (m2a info); with reserve."""

_CLASS_BYTES = 8
"""The same of the score maps, per class: S and its resized copy."""


class TorchNetwork:
    """A network in evaluation mode on the CPU."""

    def __init__(self, model: Mask2Anomaly, threads: int | None = None) -> None:
        """Take a loaded model.

        Args:
            model: the network.
            threads: CPU threads; None leaves PyTorch's own choice (all cores).
        """
        self.model = model.eval()
        if threads is not None:
            torch.set_num_threads(threads)
        self._mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def logits(self, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
        """Run the network.

        Args:
            image: uint8 [H, W, 3], RGB, any size from 32 pixels a side.

        Returns:
            class_logits float32 [Q, K+1], mask_logits float32 [Q, h, w] and the padded input size 4h, 4w.

        Raises:
            DataError: not such an image, or too large for the free memory.
            InferenceError: a result is not finite.
        """
        check_array("image", image, np.uint8, (None, None, 3))
        height, width = image.shape[:2]
        if min(height, width) < MULTIPLE:
            raise DataError(f"image of {height}x{width}: expected at least {MULTIPLE} pixels a side; enlarge it")
        padded = (height + -height % MULTIPLE, width + -width % MULTIPLE)
        per_pixel = _NETWORK_BYTES + _CLASS_BYTES * self.model.config.labels.num_classes
        need, free = padded[0] * padded[1] * per_pixel, free_bytes()
        if free is not None and need > free:
            raise DataError(
                f"image of {height}x{width}: needs about {need / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are "
                "free; shrink it (--size HxW)"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        normalised = (pixels.to(torch.float32) - self._mean) / self._std
        with torch.inference_mode():
            out = self.model(F.pad(normalised[None], (0, padded[1] - width, 0, padded[0] - height)))
        class_logits, mask_logits = out.class_logits[0], out.mask_logits[0]
        if not (torch.isfinite(class_logits).all() and torch.isfinite(mask_logits).all()):
            raise InferenceError(
                f"image of {height}x{width}: the network gave NaN or infinite logits; check the weights"
            )
        return class_logits, mask_logits, padded


def free_bytes() -> int | None:
    """Memory that can be had without swapping, in bytes; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            entries = dict(line.split(":", 1) for line in file)
        return int(entries["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
