"""IDD-lite: what its coarse labels become, and which frames with real obstacles join."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.label_set import CAMVID11
from m2a_core.training.batches import Batches
from m2a_core.training.config import AugmentConfig, DataConfig, StageConfig
from m2a_core.training.idd_lite import idd_lite_sources, load_idd_lite
from m2a_core.training.outliers import AnomalyMix

WIDTH, HEIGHT = 14, 10


def write_frame(root: Path, name: str, objects: np.ndarray | None = None) -> None:
    """Two columns of each of the seven coarse classes."""
    coarse = np.repeat(np.arange(7, dtype=np.uint8), 2)[None].repeat(HEIGHT, 0)
    camvid = np.select([coarse == 0, coarse == 6], [3, 0], 11).astype(np.uint8)
    for folder, array in (("labels", coarse), ("labels_camvid11", camvid), ("objects", objects)):
        (root / folder / "train").mkdir(parents=True, exist_ok=True)
        if array is not None:
            cv2.imwrite(str(root / folder / "train" / f"{name}.png"), array)
    (root / "images" / "train").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / "train" / f"{name}.jpg"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def marked(column: int) -> np.ndarray:
    objects = np.zeros((HEIGHT, WIDTH), np.uint8)
    objects[:, column] = 1
    return objects


def columns(values: np.ndarray) -> list[int]:
    """A frame's row, one value for each column of its file."""
    return [int(values[150, round((c + 0.5) * 480 / WIDTH)]) for c in range(WIDTH)]


def test_vehicles_and_far_things_are_left_open_living_things_are_void_and_marked_objects_are_outliers(tmp_path):
    write_frame(tmp_path, "0_1", marked(1))
    (frame,) = load_idd_lite(tmp_path, 1)
    assert columns(frame.label) == [3, 255, 255, 255, 255, 255, 200, 200, 255, 255, 201, 201, 0, 0]
    assert frame.outlier is not None
    assert columns(frame.outlier) == [0, 1, *[0] * 12]
    assert frame.partial


def test_frames_with_obstacles_come_again_and_only_those_of_drives_that_are_trained_on(tmp_path):
    for name, objects in (("1_1", None), ("1_2", marked(1)), ("2_1", marked(0)), ("3_1", None)):
        write_frame(tmp_path, name, objects)
    # Every third frame: 1_1 and 3_1. Drive 2 stays unseen.
    names = [source.name for source in idd_lite_sources(tmp_path, 3, obstacles=2)]
    assert names == ["1_1", "3_1", "1_2", "1_2"]
    assert [source.name for source in idd_lite_sources(tmp_path, 3)] == ["1_1", "3_1"]


def test_a_batch_holds_the_real_obstacles_as_outliers_and_leaves_the_frame_as_it_is(tmp_path):
    write_frame(tmp_path, "0_1", marked(1))
    frames = load_idd_lite(tmp_path, 1)
    plain = AugmentConfig(
        crop=(320, 480), scale=(1.0, 1.0), aspect=1.0, flip=0.0, rare_crop=0.0, letterbox=0.0, color=0.0, degrade=0.0
    )
    batches = Batches(frames, AnomalyMix([], []), CAMVID11, DataConfig(augment=plain), 1)
    _, (target,) = batches.get(StageConfig("s", iterations=1, batch_size=1), 0, 0)
    assert columns(target.outlier.numpy()) == [0, 1, *[0] * 12]
    assert not (target.outlier & (target.label != 255)).any()
    target.outlier[:] = False
    assert frames[0].outlier is not None
    assert frames[0].outlier.any()


def test_obstacles_without_frames_of_idd_lite_are_refused():
    with pytest.raises(ConfigError, match="idd_obstacles"):
        DataConfig(idd_obstacles=2)
    with pytest.raises(ConfigError, match="idd_obstacles"):
        DataConfig(idd_stride=3, idd_obstacles=-1)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="idd_lite"):
        load_idd_lite(tmp_path, 1)
