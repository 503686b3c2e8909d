"""``m2a train --check`` and the paper's recipes on tiny trees in the layouts of the real data sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from m2a_core.cli.main import main
from m2a_core.errors import DataError
from m2a_core.training.build import network_of
from m2a_core.training.config import load_config
from m2a_core.training.data_config import DataConfig, OutlierConfig
from m2a_core.training.sources import open_outliers, open_sources
from test.training.dataset_trees import write_cityscapes, write_coco_instances, write_coco_panoptic, write_streethazards

RECIPES = Path(__file__).resolve().parents[2] / "config" / "training"
PAPER = sorted(p for pattern in ("as-*", "oss-*", "ops-*") for p in RECIPES.glob(f"{pattern}.yaml"))


@pytest.mark.usefixtures("tiny_in_zoo")
class TestCheck:
    """The command on drawn CamVid frames."""

    @pytest.fixture
    def call(self, data_root, tmp_path):
        def run(root=data_root) -> int:
            arguments = ["--config", str(data_root / "config" / "train.yaml"), "--data-root", str(root)]
            return main(["train", "--check", *arguments, "--out", str(tmp_path / "out")])

        return run

    def test_good_data_are_counted_and_drawn(self, call, tmp_path, capsys):
        assert call() == 0
        text = capsys.readouterr().out
        assert "train: 12 of 12 frames can be read (12 of 128x96)" in text
        assert "validation: 3 of 3 frames can be read" in text
        assert "bicyclist" in text
        assert "in 0 frames: the network cannot learn it" in text
        assert "outliers: 2 of 2 kinds to train on, 1 others to validate with" in text
        sheet = cv2.imread(str(tmp_path / "out" / "check.jpg"))
        assert sheet.shape == (4 * 64, 4 * 96, 3)
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["check.jpg"]

    def test_every_broken_file_is_listed_and_the_code_is_2(self, call, data_root, tmp_path, capsys):
        broken = tmp_path / "data"
        for path in data_root.rglob("*"):
            if path.is_file():
                (broken / path.relative_to(data_root)).parent.mkdir(parents=True, exist_ok=True)
                (broken / path.relative_to(data_root)).write_bytes(path.read_bytes())
        train = broken / "camvid" / "labels" / "train"
        (broken / "camvid" / "images" / "train" / "A_00000.jpg").write_bytes(b"no picture")
        (train / "A_00001.png").unlink()
        cv2.imwrite(str(train / "A_00002.png"), np.full((96, 128), 77, np.uint8))
        cv2.imwrite(str(train / "A_00003.png"), np.zeros((95, 128), np.uint8))
        assert call(broken) == 2
        captured = capsys.readouterr()
        assert "train: 8 of 12 frames can be read" in captured.out
        for number, reason in enumerate(
            ("expected an image", "cannot read the file", "77 (12288 pixels)", "label is [95, 128]")
        ):
            (line,) = [row for row in captured.out.splitlines() if f"A_0000{number}." in row]
            assert line.startswith("  broken: ")
            assert reason in line
        assert "4 frames are broken" in captured.err
        assert not (tmp_path / "out").exists()


def test_a_favoured_kind_that_no_cutout_has_is_named(data_root):
    data = DataConfig(validation_kinds="kinds.yaml", outliers=OutlierConfig(favour={"bowl": 3.0}))
    with pytest.raises(DataError, match=r"outliers: data\.outliers\.favour: no cut-out is of kind 'bowl'"):
        open_outliers(data, data_root, data_root / "config")


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    """A data root in which every recipe finds what it names."""
    root = tmp_path_factory.mktemp("trees")
    write_cityscapes(root / "cityscapes", {"train": 3, "val": 2})
    write_streethazards(root / "streethazards", {"training": 3, "validation": 2})
    write_coco_panoptic(root / "coco", {"train2017": 3, "val2017": 2})
    write_coco_instances(root / "coco", 6)
    return root


def test_the_paper_has_five_recipes():
    splits = [f"ops-coco-k{k}" for k in ("05", "10", "20")]
    assert [p.stem for p in PAPER] == ["as-cityscapes", *splits, "oss-streethazards"]


@pytest.mark.parametrize("path", PAPER, ids=lambda p: p.stem)
def test_a_recipe_passes_its_check_on_a_tree_of_its_layout(path, trees, tmp_path, capsys):
    text = yaml.safe_load(path.read_text(encoding="utf-8"))
    small = {"count": 4, "exclude": ["person", "car"]} if text["data"]["outliers"]["source"] == "coco" else {}
    text["data"]["outliers"] |= small
    text["data"]["augment"]["crop"] = [100, 200]
    for stage in text["stages"]:
        stage["batch_size"] = 2
    config = tmp_path / path.name
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["train", "--check", "--config", str(config), "--data-root", str(trees), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "train: 3 of 3 frames can be read" in printed
    assert "validation: 2 of 2 frames can be read" in printed
    # Crops are padded to multiples of 32.
    assert cv2.imread(str(out / "check.jpg")).shape == (4 * 128, 4 * 224, 3)


def stages(name: str) -> list:
    return list(load_config(RECIPES / f"{name}.yaml").stages)


def test_recipes_hold_the_values_of_the_paper():
    """Sec. 7.3, read off once more."""
    for name, known, contrastive in (("as-cityscapes", 90_000, 4000), ("oss-streethazards", 50_000, 5000)):
        config = load_config(RECIPES / f"{name}.yaml")
        first, second = config.stages
        assert (first.iterations, first.batch_size, first.lr, first.weight_decay) == (known, 16, 1e-4, 0.05)
        assert (second.iterations, second.batch_size, second.lr) == (contrastive, 8, 1e-5)
        assert (second.loss.contrastive, second.loss.margin, second.outlier_prob) == ("printed", 0.75, 0.2)
        assert second.freeze_backbone
        assert (config.data.augment.crop, config.data.augment.scale) == ((380, 760), (0.1, 2.0))
        assert config.data.outliers.count == 300
        for stage in config.stages:
            assert (stage.loss.ce, stage.loss.bce, stage.loss.dice, stage.loss.no_object) == (2, 5, 5, 0.1)
            assert (stage.loss.num_points, stage.loss.oversample, stage.loss.importance) == (12544, 3, 0.75)
    assert stages("as-cityscapes")[0].freeze_backbone
    for percent in (5, 10, 20):
        config = load_config(RECIPES / f"ops-coco-k{percent:02d}.yaml")
        (stage,) = config.stages
        assert (stage.iterations, stage.batch_size, stage.lr) == (370_000, 8, 1e-4)
        assert config.data.augment.crop == (640, 640)
        assert config.data.void == "background"
        removed = {5: 4, 10: 8, 20: 16}[percent]
        assert network_of(config).labels.num_classes == 133 - removed


def test_the_void_baseline_trains_one_more_class_on_void(trees):
    config = load_config(RECIPES / "ops-coco-k20.yaml")
    data = DataConfig(**{**vars(config.data), "void": "class"})
    labels = network_of(config.__class__(**{**vars(config), "data": data})).labels
    assert labels.names[-1] == "void"
    assert labels.num_classes == 133 - 16 + 1
    assert len(open_sources(data, trees, labels).train) == 3


def test_another_subset_of_cutouts_is_another_set_of_the_same_size(data_root):
    chosen = []
    for subset in range(6):
        data = DataConfig(validation_kinds="kinds.yaml", outliers=OutlierConfig(limit=1, subset=subset))
        seen, unseen = open_outliers(data, data_root, data_root / "config")
        assert [c.kind for c in unseen] == ["fish"]
        chosen.append([c.kind for c in seen])
    assert all(len(kinds) == 1 for kinds in chosen)
    assert len({kinds[0] for kinds in chosen}) == 2
