"""IDD-lite: what its coarse labels become, and which frames with real obstacles are trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.real_obstacles import held_obstacles
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.batches import Batches
from m2a_core.training.config import AugmentConfig, DataConfig, StageConfig
from m2a_core.training.idd_lite import idd_lite_sources, idd_obstacle_sources, read_frame
from m2a_core.training.outliers import AnomalyMix
from m2a_core.training.targets import CLASS_SETS, SURE_CLASS_SETS

WIDTH, HEIGHT = 14, 10
ROAD, SKY, VOID = 0, 10, 255


def write_frame(root: Path, name: str, objects: np.ndarray | None = None, split: str = "train") -> None:
    """Two columns of each of the seven coarse classes."""
    coarse = np.repeat(np.arange(7, dtype=np.uint8), 2)[None].repeat(HEIGHT, 0)
    for folder, array in (("labels", coarse), ("objects", objects)):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
        if array is not None:
            cv2.imwrite(str(root / folder / split / f"{name}.png"), array)
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / split / f"{name}.jpg"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def marked(column: int) -> np.ndarray:
    objects = np.zeros((HEIGHT, WIDTH), np.uint8)
    objects[:, column] = 1
    return objects


def columns(values: np.ndarray) -> list[int]:
    """A frame's row, one value for each column of its file."""
    return [int(values[150, round((c + 0.5) * 480 / WIDTH)]) for c in range(WIDTH)]


def members(key: int) -> set[str]:
    return {CITYSCAPES19.names[i] for i in CLASS_SETS[key]}


def test_coarse_classes_become_open_sets_living_and_roadside_things_are_void_and_marked_objects_are_outliers(tmp_path):
    write_frame(tmp_path, "0_1", marked(1))
    frame = read_frame(tmp_path, "train", "0_1")
    row = columns(frame.label)
    assert row[:2] == [ROAD, VOID]
    assert row[4:6] == row[8:10] == [VOID, VOID]
    assert row[12:] == [SKY, SKY]
    sidewalk, vehicle, far = row[2], row[6], row[10]
    assert members(sidewalk) == {"sidewalk", "terrain"}
    assert {"car", "truck", "bus", "motorcycle", "bicycle"} <= members(vehicle)
    assert {"building", "vegetation"} <= members(far)
    assert not {sidewalk, vehicle, far} & set(SURE_CLASS_SETS)
    assert frame.outlier is not None
    assert columns(frame.outlier) == [0, 1, *[0] * 12]
    assert frame.partial


def test_every_third_drive_with_an_obstacle_is_held_apart_with_all_its_frames(tmp_path):
    for drive in "1234":
        write_frame(tmp_path, f"{drive}_1", marked(1))
        write_frame(tmp_path, f"{drive}_2")
    write_frame(tmp_path, "9_1", marked(0), split="val")
    trained = [source.name for source in idd_lite_sources(tmp_path)]
    assert trained == ["2_1", "2_2", "3_1", "3_2"]
    assert [source.name for source in idd_obstacle_sources(tmp_path)] == ["2_1", "3_1"]
    assert held_obstacles(tmp_path) == [("train", "1_1"), ("train", "4_1"), ("val", "9_1")]


def test_a_batch_holds_the_real_obstacles_as_outliers_and_leaves_the_frame_as_it_is(tmp_path):
    write_frame(tmp_path, "0_1", marked(1))
    frames = [read_frame(tmp_path, "train", "0_1")]
    plain = AugmentConfig(
        crop=(320, 480), scale=(1.0, 1.0), aspect=1.0, flip=0.0, rare_crop=0.0, letterbox=0.0, color=0.0, degrade=0.0
    )
    batches = Batches(frames, AnomalyMix([], []), CITYSCAPES19, DataConfig(augment=plain), 1)
    _, (target,) = batches.get(StageConfig("s", iterations=1, batch_size=1), 0, 0)
    assert columns(target.outlier.numpy()) == [0, 1, *[0] * 12]
    assert not (target.outlier & (target.label != VOID)).any()
    target.outlier[:] = False
    assert frames[0].outlier is not None
    assert frames[0].outlier.any()


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="idd_lite"):
        idd_lite_sources(tmp_path)
    with pytest.raises(DataError, match="idd_lite"):
        held_obstacles(tmp_path)


def test_a_label_of_another_size_is_named(tmp_path):
    write_frame(tmp_path, "0_1")
    cv2.imwrite(str(tmp_path / "labels" / "train" / "0_1.png"), np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match=r"0_1\.png: label is \[3, 4\], its image \[10, 14\]"):
        read_frame(tmp_path, "train", "0_1")
