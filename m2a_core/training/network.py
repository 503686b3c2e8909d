"""What is trained: the network and its training-only head as one module, for wrappers that know ``forward`` alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2a_core.model.backbones.fold import fold_batch_norm
from m2a_core.model.mask2anomaly import Mask2Anomaly

Heads = list[tuple[Tensor, Tensor]]
"""Class logits [B, Q, K+1] and mask logits [B, Q, h, w] per supervised head, the final one last."""


class TrainedNetwork(nn.Module):
    """A network in training mode whose backbone keeps its batch statistics."""

    def __init__(self, model: Mask2Anomaly, pixel_head: nn.Module | None, frozen: bool) -> None:
        """Take the parts; they are shared, not copied.

        Args:
            model: the network.
            pixel_head: 1x1 convolution from mask features to classes, or None.
            frozen: the backbone is not trained, and runs folded.
        """
        super().__init__()
        self.model, self.pixel_head = model, pixel_head
        # In a tuple: a copy without gradients is no part of the module's state.
        self.folded = (fold_batch_norm(model.backbone),) if frozen else None
        self.train()

    def train(self, mode: bool = True) -> TrainedNetwork:
        """Set the mode; batch statistics of a handful of crops are worse than those of ImageNet."""
        super().train(mode)
        # What the stage says counts, not what the network was made for.
        self.model.backbone.train(mode and self.folded is None)
        for module in self.model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Heads, Tensor | None]:
        """Predict.

        Args:
            images: float [B, 3, H, W], normalised.

        Returns:
            The heads, and the logits [B, K, H/4, W/4] of the training-only head, if there is one.
        """
        if self.folded is None:
            # Batch norm and depthwise convolutions are faster on channels-last maps, the decoders are not.
            features = self.model.backbone(images.contiguous(memory_format=torch.channels_last))
        else:
            with torch.no_grad():
                features = self.folded[0](images.contiguous(memory_format=torch.channels_last))
        output = self.model.decode({name: x.contiguous() for name, x in features.items()})
        heads = [*output.aux, (output.class_logits, output.mask_logits)]
        return heads, None if self.pixel_head is None else self.pixel_head(output.mask_features)
