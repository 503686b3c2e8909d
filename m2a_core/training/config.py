"""Training configuration: strict YAML to frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from m2a_core.errors import ConfigError
from m2a_core.training.strict import from_dict

OUTLIER_LOSSES = ("none", "printed", "text", "bce")


def _require(fits: bool, name: str, expected: str, got: object) -> None:
    if not fits:
        raise ConfigError(f"{name}: expected {expected}, got {got!r}")


def _require_shares(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(0 <= value <= 1, name, "a number from 0 to 1", value)


def _require_counts(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value >= 1, name, "at least 1", value)


def _require_size(name: str, size: tuple[int, int]) -> None:
    _require(all(n > 0 and n % 32 == 0 for n in size), name, "multiples of 32", list(size))


@dataclass(frozen=True)
class AugmentConfig:
    """Image augmentation.

    Attributes:
        crop: height, width of the training crop in pixels, multiples of 32.
        scale: smallest and largest random scale of the source image (log-uniform).
        aspect: largest random change of the aspect ratio (1 = none).
        flip: probability of a left-right flip.
        rare_crop: probability that the crop is centred on a random class instead of a random pixel.
        road_paint: probability that stripes in yellow or white are painted on the road, which stays road.
        letterbox: probability that the whole frame is shrunk into the crop with padding right or below.
        color: strength of brightness, contrast, saturation and hue jitter, 0..1.
        degrade: probability of each of blur, noise and JPEG compression of the whole image.
    """

    crop: tuple[int, int] = (288, 384)
    scale: tuple[float, float] = (0.5, 2.0)
    aspect: float = 1.1
    flip: float = 0.5
    rare_crop: float = 0.5
    road_paint: float = 0.0
    letterbox: float = 0.1
    color: float = 0.4
    degrade: float = 0.2

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_size("crop", self.crop)
        _require(0 < self.scale[0] <= self.scale[1], "scale", "0 < smallest <= largest", list(self.scale))
        _require(self.aspect >= 1, "aspect", "at least 1", self.aspect)
        _require_shares(self, "flip", "rare_crop", "letterbox", "color", "degrade")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on and what is held apart.

    Attributes:
        idd_stride: every how many-th IDD-lite training frame joins, with road and sky alone labelled; 0 = none.
        splits: CamVid split to stride: ``{train: 1, val: 5}`` takes every train frame and every fifth val frame.
        held_apart: share of the end of each ``train`` sequence kept for validation.
        min_component: connected components of things below this area (pixels of the crop) are ignored.
        max_segments: of more segments in a crop, the smallest are ignored; at most the network's queries.
        validation_kinds: YAML file listing the outlier kinds never trained on, relative to the configuration file.
        augment: image augmentation.
    """

    idd_stride: int = 0
    splits: dict[str, int] = field(default_factory=lambda: {"train": 1})
    held_apart: float = 0.13
    min_component: int = 20
    max_segments: int = 50
    validation_kinds: str = "outlier_validation_kinds.yaml"
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(all(stride >= 1 for stride in self.splits.values()), "splits", "strides of at least 1", self.splits)
        _require_shares(self, "held_apart")
        _require_counts(self, "max_segments")


@dataclass(frozen=True)
class LossConfig:
    """Weights and sampling of the losses (Sec. 3, Mask2Former's values).

    Attributes:
        ce: weight of the class cross-entropy (lambda_ce).
        bce: weight of the mask binary cross-entropy.
        dice: weight of the dice loss.
        no_object: class weight of "no object" in the weighted-mean cross-entropy.
        num_points: points sampled per mask.
        oversample: candidates per sampled point.
        importance: share of points chosen by uncertainty.
        pixel_aux: weight of the training-only per-pixel head (ours, not in the paper).
        contrastive: ``none``, ``printed`` (Eq. 13), ``text`` (f = 1 + l_N in place of l_N) or ``bce`` (Eq. 28).
        contrastive_weight: weight of that loss in Eq. 14.
        margin: m of Eq. 13.
        contrastive_stride: the outlier loss is taken at 1 / this of the crop's resolution (1 = the paper's).
        void_is_known: void pixels count as known in the outlier loss, as in the released code.
    """

    ce: float = 2.0
    bce: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    num_points: int = 768
    oversample: float = 3.0
    importance: float = 0.75
    pixel_aux: float = 1.0
    contrastive: str = "none"
    contrastive_weight: float = 1.0
    margin: float = 0.75
    contrastive_stride: int = 2
    void_is_known: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(self.contrastive in OUTLIER_LOSSES, "contrastive", f"one of {OUTLIER_LOSSES}", self.contrastive)
        _require_counts(self, "num_points", "oversample", "contrastive_stride")
        _require_shares(self, "importance")


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; a stage starts from the weights of the one before.

    Attributes:
        name: name in logs and checkpoints.
        iterations: optimiser steps.
        batch_size: images per step.
        lr: peak learning rate of AdamW.
        min_lr: share of ``lr`` left at the end of the cosine schedule.
        warmup: steps of linear warm-up.
        weight_decay: of AdamW; norms and biases have none.
        backbone_lr: factor on ``lr`` for the backbone, when it is trained.
        freeze_backbone: no gradients for the backbone (Sec. 7.3).
        clip_grad: largest norm of the whole gradient, 0 = off.
        ema: decay of the averaged weights that are validated and saved.
        outlier_prob: probability that an image gets pasted outliers.
        known_paste_prob: probability that an image gets pasted known objects, so that pasting is no evidence.
        loss: losses of this stage.
    """

    name: str
    iterations: int
    batch_size: int = 8
    lr: float = 1e-4
    min_lr: float = 0.01
    warmup: int = 200
    weight_decay: float = 0.05
    backbone_lr: float = 0.1
    freeze_backbone: bool = True
    clip_grad: float = 0.01
    ema: float = 0.998
    outlier_prob: float = 0.0
    known_paste_prob: float = 0.0
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_counts(self, "iterations", "batch_size")
        _require_shares(self, "min_lr", "ema", "outlier_prob", "known_paste_prob")
        _require(self.lr > 0, "lr", "more than 0", self.lr)
        if self.loss.contrastive != "none":
            _require(self.outlier_prob > 0, "outlier_prob", "more than 0 with an outlier loss", self.outlier_prob)


@dataclass(frozen=True)
class ValidationConfig:
    """Validation during training.

    Attributes:
        every: steps between validations.
        frames: frames of the short validation, evenly spread; 0 = all.
        input_size: height, width of the network's input.
        seed: of the composed set.
    """

    every: int = 500
    frames: int = 18
    input_size: tuple[int, int] = (384, 480)
    seed: int = 7

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_counts(self, "every")
        _require(self.frames >= 0, "frames", "0 or more", self.frames)
        _require_size("input_size", self.input_size)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run.

    Attributes:
        name: name of the run.
        model: name in ``m2a_core.model.zoo.MODELS``.
        stages: stages in order.
        seed: of everything random.
        threads: CPU threads of torch and OpenCV; 0 = leave as they are.
        checkpoint_every: steps between checkpoints.
        data: data and augmentation.
        validation: validation during training.
    """

    name: str
    model: str
    stages: tuple[StageConfig, ...]
    seed: int = 1
    threads: int = 0
    checkpoint_every: int = 200
    data: DataConfig = field(default_factory=DataConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(len(self.stages) > 0, "stages", "at least one stage", list(self.stages))
        _require_counts(self, "checkpoint_every")
        _require(0 <= self.seed < 2**24, "seed", "0 .. 2^24 - 1", self.seed)


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
    try:
        return from_dict(TrainConfig, data)
    except ConfigError as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
