"""The module that is exported: bytes of an image in, the tensors of ``io_spec`` out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2a_core.contract.io_spec import MASK_STRIDE
from m2a_core.errors import ConfigError
from m2a_core.export.open_set_graph import OpenSetGraph, ScoreOrder
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.openset.refinement import Refinement
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD

NETWORK_MULTIPLE = 32


class ExportedNetwork(nn.Module):
    """Normalisation, padding to a multiple of 32 (right and bottom, zero after it), network, open-set maps.

    Args:
        model: the network.
        input_size: H, W of the images, multiples of 4.
        score_order: see ``OpenSetGraph``.
        refinement: which definition of Eq. 15.
        full_masks: also give ``io_spec.FULL_MASKS``.

    Raises:
        ConfigError: a side is not a positive multiple of 4.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        model: Mask2Anomaly,
        input_size: tuple[int, int],
        score_order: ScoreOrder = "fast",
        refinement: Refinement = Refinement.PAPER,
        full_masks: bool = False,
    ) -> None:
        super().__init__()
        if min(input_size) < NETWORK_MULTIPLE or any(n % MASK_STRIDE for n in input_size):
            raise ConfigError(
                f"input size {input_size[0]}x{input_size[1]}: expected sides of at least {NETWORK_MULTIPLE} that are "
                f"multiples of {MASK_STRIDE}, the stride of the masks"
            )
        self.input_size = input_size
        self.full_masks = full_masks
        self.pad_bottom, self.pad_right = (-n % NETWORK_MULTIPLE for n in input_size)
        self.model = model
        self.heads = OpenSetGraph(model.config.labels, score_order, refinement)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Args:
            image: uint8 [B, H, W, 3], RGB.

        Returns:
            The tensors of ``io_spec.OUTPUTS`` and ``io_spec.RAW_OUTPUTS``, in that order, then ``io_spec.FULL_MASKS``
            where asked for.
        """
        class_logits, mask_logits, seen = self._logits(image)
        h, w = (n // MASK_STRIDE for n in self.input_size)
        maps = self.heads(class_logits, seen, self.input_size)
        anomaly, refined, semantic, background, winning_query, query_masks, class_probs = maps
        return (
            anomaly,
            refined,
            semantic,
            background,
            winning_query[..., :h, :w],
            query_masks[..., :h, :w],
            class_probs,
            class_logits,
            mask_logits[..., :h, :w],
            *((self.heads.full_masks(seen, self.input_size),) if self.full_masks else ()),
        )

    def class_scores(self, image: Tensor) -> Tensor:
        """What ``semantic`` is the largest of: S (Eq. 7), float32 [B, K, H, W]; argument as `forward`."""
        class_logits, _, seen = self._logits(image)
        return self.heads.class_scores(class_logits, seen, self.input_size)

    def _logits(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits, mask logits, and those of them that upsampling to the image's size sees."""
        normalised = (image.permute(0, 3, 1, 2).to(torch.float32) - self.mean) * self.scale
        out = self.model(F.pad(normalised, (0, self.pad_right, 0, self.pad_bottom)))
        # Upsampling reaches one cell beyond the image; the rest of the padding cannot be seen.
        h, w = (n // MASK_STRIDE for n in self.input_size)
        return out.class_logits, out.mask_logits, out.mask_logits[..., : h + 1, : w + 1]
