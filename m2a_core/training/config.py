"""Training configuration: strict YAML to frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from m2a_core.errors import ConfigError
from m2a_core.training.data_config import AugmentConfig, BlendConfig, DataConfig, OutlierConfig, require_mix
from m2a_core.training.strict import (
    from_dict,
    require,
    require_choice,
    require_counts,
    require_not_negative,
    require_shares,
    require_size,
)
from m2a_core.yaml_file import read_yaml

__all__ = [
    "AugmentConfig",
    "AverageConfig",
    "BlendConfig",
    "DataConfig",
    "LossConfig",
    "OutlierConfig",
    "StageConfig",
    "TrainConfig",
    "ValidationConfig",
    "load_config",
]

OUTLIER_LOSSES = ("none", "printed", "text", "bce", "strict")
SCHEDULES = ("cosine", "poly", "steps", "constant")
PRECISIONS = ("no", "bf16", "fp16")
MAX_POINTS = 1_000_000
"""Points a mask, as many as a crop of 1000 x 1000 has pixels: memory grows with them."""
ATTENTIONS = ("", "global_masked", "masked", "cross")
STEPS_AT = (0.889, 0.963)
"""Shares of a stage after which ``steps`` divides the rate by ten: Mask2Former's 327778 and 355092 of 368750."""


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
        choice: weight of the set-valued loss of coarse labels (ours, not in the paper).
        semantic: weight of the cross-entropy on the final head's S over its sum (ours, not in the paper).
        lovasz: weight of the surrogate of mean IoU on the same (ours, not in the paper), of each process' images by
            themselves.
        excess: weight of the penalty on S that adds up to more than 1 over the classes (ours, not in the paper).
        contrastive: ``none``, ``printed`` (Eq. 13), ``text`` (f = 1 + l_N in place of l_N), ``bce`` (Eq. 28) or
            ``strict`` (ours: as ``bce``, but known pixels are judged by B of Eq. 17, so that one query alone must claim
            them, and outliers by f of Eq. 7, so that not even all queries together may).
        contrastive_weight: weight of that loss in Eq. 14.
        balance: an outlier pixel's weight in that loss is its object's area to the power of minus this: with 0 pixels
            count alike, with 1 objects do, however small (ours, not in the paper).
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
    choice: float = 0.0
    semantic: float = 0.0
    lovasz: float = 0.0
    excess: float = 0.0
    contrastive: str = "none"
    contrastive_weight: float = 1.0
    balance: float = 0.0
    margin: float = 0.75
    contrastive_stride: int = 2
    void_is_known: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.contrastive in OUTLIER_LOSSES, "contrastive", f"one of {OUTLIER_LOSSES}", self.contrastive)
        require_counts(self, "num_points", "oversample", "contrastive_stride")
        require(self.num_points <= MAX_POINTS, "num_points", f"at most {MAX_POINTS}", self.num_points)
        require_shares(self, "importance", "balance")
        weights = ("ce", "bce", "dice", "no_object", "pixel_aux", "choice", "semantic", "lovasz", "excess")
        require_not_negative(self, *weights, "contrastive_weight", "margin")


@dataclass(frozen=True)
class AverageConfig:
    """What a result is averaged with: between two networks lies one that keeps what both can do.

    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.

    Attributes:
        with_: of a stage: ``start``, the weights that it began with; of a run: the name of an earlier stage, whose
            result is taken. The key in the file is ``with``.
        share: of those weights in the result, from 0 to 1.
    """

    with_: str = "start"
    share: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges."""
        require_shares(self, "share")


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; a stage starts from the weights of the one before.

    Attributes:
        name: name in logs and checkpoints, another one for each stage.
        iterations: optimiser steps.
        batch_size: images per step.
        lr: peak learning rate of AdamW.
        schedule: after the warm-up: ``cosine``, ``poly`` (power 0.9, the released semantic recipes), ``steps`` (a tenth
            after 88.9 and after 96.3 % of the stage, the panoptic recipe) or ``constant``.
        min_lr: share of ``lr`` left at the end of the cosine schedule.
        warmup: steps of linear warm-up.
        weight_decay: of AdamW; norms and biases have none.
        backbone_lr: factor on ``lr`` for the backbone, when it is trained.
        freeze_backbone: no gradients for the backbone (Sec. 7.3).
        clip_grad: largest norm of the whole gradient, 0 = off.
        ema: decay of the averaged weights that are validated and saved; 0 = no averaging.
        outlier_prob: probability that an image gets pasted outliers.
        known_paste_prob: probability that an image gets pasted known objects, so that pasting is no evidence.
        rare_frames: probability that an image is drawn by class: a class first, each as likely as any other, then a
            frame that shows it; the crop is centred on that class where ``augment.rare_crop`` asks for one.
        loss: losses of this stage.
        mix: in place of `DataConfig.mix`; empty = that.
        augment: in place of `DataConfig.augment`; None = that.
        blend: in place of `DataConfig.blend`; None = that.
        average: what the stage's result is averaged with; None = nothing.
    """

    name: str
    iterations: int
    batch_size: int = 8
    lr: float = 1e-4
    schedule: str = "cosine"
    min_lr: float = 0.01
    warmup: int = 200
    weight_decay: float = 0.05
    backbone_lr: float = 0.1
    freeze_backbone: bool = True
    clip_grad: float = 0.01
    ema: float = 0.998
    outlier_prob: float = 0.0
    known_paste_prob: float = 0.0
    rare_frames: float = 0.0
    loss: LossConfig = field(default_factory=LossConfig)
    mix: dict[str, float] = field(default_factory=dict)
    augment: AugmentConfig | None = None
    blend: BlendConfig | None = None
    average: AverageConfig | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        require_counts(self, "iterations", "batch_size")
        require_mix("mix", self.mix)
        require_shares(self, "min_lr", "ema", "outlier_prob", "known_paste_prob", "rare_frames")
        require_not_negative(self, "warmup", "weight_decay", "backbone_lr", "clip_grad")
        require(0 < self.lr < math.inf, "lr", "more than 0, finite", self.lr)
        require_choice(self, "schedule", SCHEDULES)
        if self.average is not None:
            require(self.average.with_ == "start", "average.with", "start", self.average.with_)
        if self.loss.contrastive != "none":
            require(self.outlier_prob > 0, "outlier_prob", "more than 0 with an outlier loss", self.outlier_prob)


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
        require_counts(self, "every")
        require(self.frames >= 0, "frames", "0 or more", self.frames)
        require_size("input_size", self.input_size)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run.

    Attributes:
        name: name of the run.
        model: name in ``m2a_core.model.zoo.MODELS``.
        stages: stages in order.
        initial_weights: safetensors file of a related network, relative to the configuration file, or the name of a
            model bundle: what has the same name and shape starts from it, the rest from scratch; of own data, a class
            also starts from one of the same name; "" = ImageNet's backbone alone.
        seed: of everything random.
        threads: CPU threads of torch and OpenCV; 0 = leave as they are.
        workers: processes that prepare batches ahead (worth it beside a GPU); 0 = none.
        checkpoint_every: steps between checkpoints.
        attention: another kind of attention than the model's own (Table 5c); empty = its own.
        backbone: another backbone than the model's own, as in `ModelConfig.backbone`; empty = its own. In the file it
            stands with the model: ``model: {backbone: timm/NAME, name: m2a-base}``.
        backbone_weights: file with the backbone's weights, relative to the data root (torchvision, Barlow Twins or
            Swin names, timm's for its models); empty = ImageNet weights from a Python package, where one carries them,
            or those that timm downloads.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` (NVIDIA only, with loss scaling); losses are float32.
        data: data and augmentation.
        validation: validation during training.
        average: what the run's result is averaged with; None = nothing.
    """

    name: str
    model: str
    stages: tuple[StageConfig, ...]
    initial_weights: str = ""
    attention: str = ""
    backbone: str = ""
    backbone_weights: str = ""
    precision: str = "no"
    seed: int = 1
    threads: int = 0
    workers: int = 0
    checkpoint_every: int = 200
    data: DataConfig = field(default_factory=DataConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    average: AverageConfig | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.average is not None:
            earlier = [stage.name for stage in self.stages[:-1]]
            require(self.average.with_ in earlier, "average.with", f"one of {', '.join(earlier)}", self.average.with_)
        require_choice(self, "attention", ATTENTIONS)
        require_choice(self, "precision", PRECISIONS)
        require(len(self.stages) > 0, "stages", "at least one stage", list(self.stages))
        names = [stage.name for stage in self.stages]
        require(len({*names}) == len(names), "stages.name", "names that differ", names)
        mixed = [stage.name for stage in self.stages if stage.mix and self.data.dataset != "roads"]
        require(not mixed, "stages.mix", "none without data.dataset roads", mixed)
        pasting = max(stage.outlier_prob for stage in self.stages) > 0
        # Own data leave stages out that need outliers, and say what is lost: `m2a_core.training.own`.
        fits = not pasting or self.data.outliers.source != "none" or self.data.dataset == "own"
        require(fits, "data.outliers.source", "cutouts or coco where a stage pastes outliers", "none")
        require_counts(self, "checkpoint_every")
        require_not_negative(self, "threads", "workers")
        require(0 <= self.seed < 2**24, "seed", "0 .. 2^24 - 1", self.seed)


@dataclass(frozen=True)
class _ModelChoice:
    """``model`` as a mapping: a name of the zoo and another backbone."""

    backbone: str
    name: str = "m2a-base"


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit.
    """
    try:
        data = read_yaml(path, aliases=True)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
    try:
        if isinstance(data, dict) and isinstance(data.get("model"), dict):
            chosen = from_dict(_ModelChoice, data["model"], "model")
            data = {**data, "model": chosen.name, "backbone": chosen.backbone}
        return from_dict(TrainConfig, data)
    except ConfigError as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
