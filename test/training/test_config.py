"""Strict configurations: what a file may not say, and that the shipped one fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from m2a_core.errors import ConfigError
from m2a_core.training.config import TrainConfig, load_config
from m2a_core.training.strict import from_dict

REPOSITORY = Path(__file__).resolve().parents[2]
STAGE = {"name": "known", "iterations": 10}
MINIMAL = {"name": "run", "model": "m2a-edge", "stages": [STAGE]}


def read(**changes: object) -> TrainConfig:
    return from_dict(TrainConfig, MINIMAL | changes)


def test_defaults_fill_what_is_left_out_and_numbers_keep_their_types():
    config = read(stages=[STAGE | {"lr": 1, "loss": {"num_points": 99}}], data={"augment": {"scale": [1, 2]}})
    assert config.stages[0].lr == 1.0
    assert isinstance(config.stages[0].lr, float)
    assert config.stages[0].loss.num_points == 99
    assert config.stages[0].loss.ce == 2.0
    assert config.data.augment.scale == (1.0, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 1}, r"unknown key 'sed'.*known are .*seed"),
        ({"stages": [STAGE | {"losses": {}}]}, r"unknown key 'stages\[0\]\.losses'"),
        ({"data": {"augment": {"crops": [64, 64]}}}, r"unknown key 'data\.augment\.crops'"),
        ({"stages": [{"name": "known"}]}, r"key 'stages\[0\]\.iterations' is missing"),
        ({"stages": [STAGE | {"iterations": "10"}]}, r"stages\[0\]\.iterations: expected int, got '10'"),
        ({"stages": [STAGE | {"iterations": 10.0}]}, r"iterations: expected int, got 10\.0"),
        ({"stages": [STAGE | {"iterations": True}]}, r"iterations: expected int, got True"),
        ({"stages": [STAGE | {"lr": "1e-4"}]}, r"stages\[0\]\.lr: expected float, got '1e-4'"),
        ({"stages": [STAGE | {"lr": True}]}, r"lr: expected float, got True"),
        ({"stages": [STAGE | {"freeze_backbone": 1}]}, r"freeze_backbone: expected bool, got 1"),
        ({"stages": STAGE}, r"stages: expected a list"),
        ({"stages": [7]}, r"stages\[0\]: expected a mapping, got 7"),
        ({"data": {"augment": {"crop": [64]}}}, r"data\.augment\.crop: expected a list of 2 values"),
        ({"data": {"splits": {"train": "all"}}}, r"data\.splits\.train: expected int, got 'all'"),
        ({"data": {"splits": ["train"]}}, r"data\.splits: expected a mapping"),
        ({"data": None}, r"data: expected a mapping, got None"),
    ],
)
def test_unknown_keys_missing_keys_and_wrong_types_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "stages: expected at least one stage"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected"),
        ({"threads": -1}, "threads: expected a finite number of at least 0, got -1"),
        ({"stages": [STAGE, STAGE | {"name": "x"}, STAGE]}, r"stages\.name: expected names that differ, got \['known'"),
        ({"data": {"min_component": -3}}, r"data\.min_component: expected a finite number of at least 0, got -3"),
        ({"data": {"outliers": {"limit": -1}}}, r"data\.outliers\.limit: expected a finite number of at least 0"),
        *(
            ({"data": {"outliers": {"favour": {"ball": value}}}}, r"data\.outliers\.favour: expected finite factors")
            for value in (-1.0, float("inf"), float("nan"))
        ),
        *(
            ({"data": {"outliers": {"source": "coco", **more}}}, r"data\.outliers\.source: expected cutouts with")
            for more in ({"held": ["ball"]}, {"more_roots": ["a"]}, {"limit": 3})
        ),
        (
            {"data": {"augment": {"scale": [1.0, float("inf")]}}},
            r"data\.augment\.scale: expected 0 < smallest <= largest, finite",
        ),
        ({"data": {"augment": {"aspect": float("inf")}}}, r"data\.augment\.aspect: expected finite"),
        ({"data": {"blend": {"stretch": float("inf")}}}, r"data\.blend\.stretch: expected finite"),
        (
            {"data": {"blend": {"blur": [0.0, float("inf")]}}},
            r"data\.blend\.blur: expected 0 <= smallest <= largest, finite",
        ),
        ({"data": {"dataset": "roads", "mix": {"camvid": float("inf")}}}, r"data\.mix: expected finite shares"),
        *(
            ({"stages": [STAGE | {name: -1 if name == "warmup" else -1.0}]}, rf"stages\[0\]\.{name}: expected a finite")
            for name in ("warmup", "clip_grad", "weight_decay", "backbone_lr")
        ),
        *(
            ({"stages": [STAGE | {"loss": {name: value}}]}, rf"stages\[0\]\.loss\.{name}: expected a finite number")
            for name in ("ce", "bce", "dice", "no_object", "pixel_aux", "semantic", "contrastive_weight", "margin")
            for value in (-0.5, float("inf"))
        ),
        ({"stages": [STAGE | {"loss": {"num_points": 10**9}}]}, r"loss\.num_points: expected at most 1000000, got"),
        ({"stages": [STAGE | {"lr": float("inf")}]}, r"stages\[0\]\.lr: expected more than 0, finite, got inf"),
        ({"validation": {"every": 0}}, r"validation\.every: expected at least 1"),
        ({"validation": {"input_size": [360, 480]}}, r"validation\.input_size: expected multiples of 32"),
        ({"data": {"augment": {"crop": [31, 96]}}}, r"data\.augment\.crop: expected height and width of at least 32"),
        ({"data": {"augment": {"flip": 1.5}}}, r"data\.augment\.flip: expected a number from 0 to 1, got 1\.5"),
        ({"data": {"augment": {"scale": [2.0, 0.5]}}}, r"data\.augment\.scale: expected 0 < smallest"),
        ({"data": {"held_apart": -0.1}}, r"data\.held_apart"),
        ({"data": {"splits": {"train": 0}}}, r"data\.splits: expected strides"),
        ({"stages": [STAGE | {"iterations": 0}]}, r"stages\[0\]\.iterations: expected at least 1"),
        ({"stages": [STAGE, STAGE | {"batch_size": 0}]}, r"stages\[1\]\.batch_size: expected at least 1"),
        ({"stages": [STAGE | {"lr": float("nan")}]}, r"stages\[0\]\.lr: expected more than 0"),
        ({"stages": [STAGE | {"ema": 1.1}]}, r"stages\[0\]\.ema"),
        ({"stages": [STAGE | {"loss": {"importance": 2.0}}]}, r"stages\[0\]\.loss\.importance"),
        ({"stages": [STAGE | {"loss": {"oversample": 0.5}}]}, r"stages\[0\]\.loss\.oversample: expected at least 1"),
        ({"stages": [STAGE | {"loss": {"contrastive": "margin"}}]}, r"loss\.contrastive: expected one of .*'text'"),
        ({"stages": [STAGE | {"loss": {"contrastive": "text"}}]}, r"stages\[0\]\.outlier_prob: expected more than 0"),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        read(**changes)


@pytest.mark.parametrize("text", ["stages: [", "just words", "", "\x00"])
def test_a_file_that_is_no_mapping_is_named(tmp_path, text):
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.yaml"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_an_error_inside_a_file_names_file_and_key(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"sed": 1}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.yaml: unknown key 'sed'"):
        load_config(path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config" / "training").glob("*edge*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_load_and_learn_the_known_classes_before_the_unknown(path):
    config = load_config(path)
    assert config.stages[0].loss.contrastive == "none" or config.initial_weights
    assert config.stages[-1].loss.contrastive != "none"
    assert "test" not in config.data.splits
    assert (path.parent / config.data.validation_kinds).is_file()
