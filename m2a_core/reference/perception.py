"""Perception from a checkpoint instead of a bundle: the authors' inference, with its variants by name.

Stands in for ``m2a_core.perception.Perception`` where exactness counts more than speed: image at its native size,
scores in the paper's order of operations, the released code's refinement, left-right averaging.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.decision import decision_scores
from m2a_core.openset.head import OpenSetHead
from m2a_core.openset.refinement import Refinement, RefinementRule, refinement_rule
from m2a_core.openset.road import lowered_off_road, road_hull, road_prior
from m2a_core.openset.semantic import open_set_semantic
from m2a_core.preprocess import Geometry, Letterbox
from m2a_core.reference.network import TorchNetwork
from m2a_core.reference.scores import score_maps
from m2a_core.types import ALL_OUTPUTS, Frame, OpenSetResult, Output

FrameSize = tuple[int, int] | Literal["native", "official"]
RefineChoice = Literal["paper", "official", "off"]
UNCALIBRATED = Thresholds(anomaly=0.5, refined=0.5)
"""Foreign checkpoints bring no thresholds."""

OFFICIAL_SHORT, OFFICIAL_LONG = 1024, 2048


def refinement_of(choice: RefineChoice | None, labels: LabelSet, official_checkpoint: bool) -> RefineChoice:
    """The refinement to use.

    Args:
        choice: what the user asked for, or None: ``official`` for an official checkpoint of the Cityscapes classes,
            so that it gives the authors' numbers; else ``paper``.
        labels: the model's classes.
        official_checkpoint: the weights are the authors'.
    """
    if choice is not None:
        return choice
    return "official" if official_checkpoint and labels.names == CITYSCAPES19.names else "paper"


class CheckpointPerception:
    """A loaded checkpoint, ready for frames of any size."""

    def __init__(
        self,
        network: TorchNetwork,
        size: FrameSize = "native",
        flip: bool = False,
        refine: RefineChoice = "paper",
        decision: Decision = Decision.ANOMALY,
    ) -> None:
        """Prepare.

        Args:
            network: the checkpoint's.
            size: ``native``: the image as it is; ``official``: shorter side 1024, longer at most 2048, the resize of
                the authors' scripts; (H, W): scaled to fit, keeping the aspect.
            flip: average the scores with those of the left-right flipped image, as the authors' scripts do.
            refine: variant of Eq. 15, or ``off``: nothing is suppressed.
            decision: which score decides what is unknown; the authors' is ``anomaly``.

        Raises:
            ConfigError: the refinement is not defined for the model's classes.
        """
        self.labels = network.model.config.labels
        self._network = network
        self._letterbox = Letterbox(size) if isinstance(size, tuple) else None
        self._official_size = size == "official"
        self._flip = flip
        self._rule: RefinementRule | None = (
            None if refine == "off" else refinement_rule(self.labels, Refinement(refine))
        )
        self._decision = decision
        self._head = OpenSetHead(self.labels, UNCALIBRATED, decision=decision)

    def infer_raw(
        self, frame: Frame, wanted: frozenset[Output] = ALL_OUTPUTS, raw: bool = True
    ) -> tuple[OpenSetResult, NetworkOutput]:
        """Perceive one frame.

        Args:
            frame: the image, at least 32 pixels a side after resizing.
            wanted: the outputs to compute.
            raw: fill the logits of the second result.

        Returns:
            The maps at the image's own size, and the network's tensors at its padded input.

        Raises:
            DataError: the image is too small, or too large for the free memory.
            InferenceError: the network gave NaN or infinite logits.
        """
        image, geometry = self._fit(frame.image)
        with torch.inference_mode():
            class_logits, mask_logits, padded = self._network.logits(image)
            flipped = self._network.logits(image[:, ::-1])[:2] if self._flip else None
            at_input = self._maps(class_logits, mask_logits, flipped, padded, geometry.valid, geometry.valid)
            at_image = at_input
            if geometry.original != geometry.valid:
                at_image = self._maps(class_logits, mask_logits, flipped, padded, geometry.valid, geometry.original)
            top = class_logits.softmax(-1)[:, :-1].amax(-1)
            network = NetworkOutput(
                **{name: _pad(values, padded) for name, values in at_input.items()},
                winning_query=(top[:, None, None] * mask_logits.sigmoid()).argmax(0).to(torch.int32).numpy(),
                query_masks=(mask_logits >= 0).numpy(),
                class_probs=class_logits.softmax(-1).numpy(),
                class_logits=class_logits.numpy() if raw else None,
                mask_logits=mask_logits.numpy() if raw else None,
            )
        result = self._head.compute(network, geometry, wanted - {Output.OPEN_SET})
        anomaly, background, semantic = (at_image[name] for name in ("anomaly", "background", "semantic"))
        score, refined = decision_scores(anomaly, at_image["refined"], background, self._decision)
        limit, unknown = UNCALIBRATED.anomaly, self.labels.unknown_id
        prior = None
        if Output.REFINED_ROAD in wanted:
            prior = road_prior(road_hull(semantic, self.labels.road), semantic.shape)
        exact = replace(
            result,
            anomaly=anomaly if Output.ANOMALY in wanted else None,
            background=background if Output.BACKGROUND in wanted else None,
            score=score if Output.SCORE in wanted else None,
            refined=refined if Output.REFINED in wanted else None,
            refined_road=None if prior is None else lowered_off_road(refined, prior),
            semantic=semantic if Output.SEMANTIC in wanted else None,
            open_set=open_set_semantic(semantic, score, limit, unknown) if Output.OPEN_SET in wanted else None,
        )
        return exact, network

    def close(self) -> None:
        """Nothing to free before the object goes."""

    def _fit(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """The image at the size that the network sees, without padding."""
        height, width = image.shape[:2]
        if self._letterbox is not None:
            fitted, geometry = self._letterbox.apply(image)
            return fitted[: geometry.valid[0], : geometry.valid[1]], geometry
        valid = _official_size(height, width) if self._official_size else (height, width)
        geometry = Geometry((height, width), valid, (valid[0] / height, valid[1] / width))
        if valid == (height, width):
            return image, geometry
        # PyTorch's antialiased bilinear resize of bytes is Pillow's, which detectron2 uses.
        channels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        resized = F.interpolate(channels, size=valid, mode="bilinear", antialias=True)[0]
        return resized.permute(1, 2, 0).contiguous().numpy(), geometry

    def _maps(
        self,
        class_logits: torch.Tensor,
        mask_logits: torch.Tensor,
        flipped: tuple[torch.Tensor, torch.Tensor] | None,
        padded: tuple[int, int],
        valid: tuple[int, int],
        size: tuple[int, int],
    ) -> dict[str, np.ndarray]:
        maps = score_maps(class_logits, mask_logits, padded, valid, size, self._rule)
        anomaly, refined, background = maps.anomaly, maps.refined, maps.background
        if flipped is not None:
            mirror = score_maps(*flipped, padded, valid, size, self._rule)
            anomaly = (anomaly + mirror.anomaly.flip(1)) / 2
            refined = (refined + mirror.refined.flip(1)) / 2
            background = (background + mirror.background.flip(1)) / 2
        return {
            "anomaly": anomaly.numpy(),
            "refined": refined.numpy(),
            "semantic": maps.semantic.to(torch.uint8).numpy(),
            "background": background.numpy(),
        }


def _official_size(height: int, width: int) -> tuple[int, int]:
    scale = OFFICIAL_SHORT / min(height, width)
    if max(height, width) * scale > OFFICIAL_LONG:
        scale = OFFICIAL_LONG / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _pad(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = values.shape
    padded: np.ndarray = cv2.copyMakeBorder(values, 0, size[0] - height, 0, size[1] - width, cv2.BORDER_REPLICATE)
    return padded
