"""Training configuration: strict YAML to frozen dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from m2a_core.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class AugmentConfig:
    """Image augmentation.

    Attributes:
        crop: height, width of the training crop in pixels, multiples of 32.
        scale: smallest and largest random scale of the source image (log-uniform).
        aspect: largest random change of the aspect ratio (1 = none).
        flip: probability of a left-right flip.
        rare_crop: probability that the crop is centred on a random class instead of a random pixel.
        letterbox: probability that the whole frame is shrunk into the crop with padding right or below.
        color: strength of brightness, contrast, saturation and hue jitter, 0..1.
        degrade: probability of each of blur, noise and JPEG compression of the whole image.
    """

    crop: tuple[int, int] = (288, 384)
    scale: tuple[float, float] = (0.5, 2.0)
    aspect: float = 1.1
    flip: float = 0.5
    rare_crop: float = 0.5
    letterbox: float = 0.1
    color: float = 0.4
    degrade: float = 0.2


@dataclass(frozen=True)
class DataConfig:
    """What is trained on and what is held apart.

    Attributes:
        splits: CamVid split to stride: ``{train: 1, val: 5}`` takes every train frame and every fifth val frame.
        held_apart: share of the end of each ``train`` sequence kept for validation.
        min_component: connected components of things below this area (pixels of the crop) are ignored.
        max_segments: of more segments in a crop, the smallest are ignored; at most the network's queries.
        validation_kinds: YAML file listing the outlier kinds never trained on, relative to the configuration file.
        augment: image augmentation.
    """

    splits: dict[str, int] = field(default_factory=lambda: {"train": 1})
    held_apart: float = 0.13
    min_component: int = 20
    max_segments: int = 50
    validation_kinds: str = "outlier_validation_kinds.yaml"
    augment: AugmentConfig = field(default_factory=AugmentConfig)


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
        weight_decay: of AdamW; norms, biases and embeddings have none.
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
        """Check what the types do not say."""
        for name, size in (("data.augment.crop", self.data.augment.crop), ("input_size", self.validation.input_size)):
            if any(n <= 0 or n % 32 for n in size):
                raise ConfigError(f"{name}: expected multiples of 32, got {list(size)}")
        if not self.stages:
            raise ConfigError("stages: at least one stage is needed")
        for stage in self.stages:
            if stage.loss.contrastive not in ("none", "printed", "text", "bce"):
                raise ConfigError(
                    f"stages.{stage.name}.loss.contrastive: '{stage.loss.contrastive}' is not one of "
                    "none, printed, text, bce"
                )
            if stage.loss.contrastive != "none" and stage.outlier_prob == 0:
                raise ConfigError(f"stages.{stage.name}: an outlier loss needs outlier_prob > 0")


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value, where)
    if origin is tuple:
        if not isinstance(value, list) or (args[-1] is not ... and len(value) != len(args)):
            raise ConfigError(f"{where}: expected a list of {len(args)} values, got {value!r}")
        kinds = [args[0]] * len(value) if args[-1] is ... else args
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, got {value!r}")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """Build a dataclass from plain values, refusing unknown keys, missing keys and wrong types.

    Raises:
        ConfigError: naming the key, what was expected and what came.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where or cls.__name__}: expected a mapping, got {data!r}")
    hints = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(f"unknown key '{prefix}{unknown[0]}'; known are {', '.join(sorted(fields))}")
    missing = [n for n, f in fields.items() if n not in data and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"key '{prefix}{missing[0]}' is missing")
    return cls(**{k: _convert(hints[k], v, prefix + k) for k, v in data.items()})


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
    return from_dict(TrainConfig, data)
