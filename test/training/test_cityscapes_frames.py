"""Packed Cityscapes frames: classes, instances, true aspect, the own bonnet, and broken files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.data.packed_cityscapes import STORED_VOID
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.cityscapes_frames import own_car, packed_cityscapes_sources
from m2a_core.training.targets import CLASS_SETS, IGNORE, OWN_CAR, SURE_CLASS_SETS, make_target
from test.training.dataset_trees import write_packed_cityscapes

CAR = CITYSCAPES19.names.index("car")


def replace_ids(root: Path, ids: np.ndarray) -> None:
    cv2.imwrite(str(root / "ids" / "train" / "aachen_0.png"), ids)


def test_classes_instances_and_the_own_car_are_read_at_the_true_aspect(tmp_path):
    write_packed_cityscapes(tmp_path, {"train": 2, "val": 1})
    sources = packed_cityscapes_sources(tmp_path, "train")
    assert [source.name for source in sources] == ["aachen_0", "aachen_1"]
    frame = sources[0].read()
    assert frame.image.shape == (64, 128, 3)
    assert frame.label.shape == frame.instances.shape == (64, 128)
    assert frame.sequence == "aachen"
    label, instances = frame.label[:, ::2], frame.instances[:, ::2]  # the stored columns, each of them doubled
    assert (label[:30] == CITYSCAPES19.names.index("sky")).all()
    assert (label[35:45, 10:20] == CAR).all()
    assert (label[35:45, 20:30] == CAR).all()
    assert len({int(instances[40, 15]), int(instances[40, 25]), 0}) == 3
    assert (label[50:55, 40:50] == CAR).all()
    assert (instances[50:55, 40:50] == 0).all()
    assert (label[46:48, 2:6] == IGNORE).all()
    assert (label[60:] == OWN_CAR).all()
    target = make_target(
        frame.label,
        np.zeros(frame.label.shape, bool),
        CITYSCAPES19,
        1,
        50,
        segments="instance",
        instances=frame.instances,
    )
    assert target.classes.tolist().count(CAR) == 2


def test_the_own_car_is_void_at_the_lower_edge_and_what_nearly_touches_it():
    void = np.zeros((40, 60), bool)
    void[36:, 10:50] = True
    void[30:33, 28:32] = True  # the star above a thin stem that the labels miss
    void[5:9, 5:9] = True
    expected = void.copy()
    expected[5:9, 5:9] = False
    assert np.array_equal(own_car(void), expected)
    assert not own_car(np.zeros((4, 4), bool)).any()


def test_the_own_car_may_be_any_class_and_is_none_of_the_unknown():
    assert set(CLASS_SETS[OWN_CAR]) == set(range(CITYSCAPES19.num_classes))
    assert OWN_CAR in SURE_CLASS_SETS


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((64, 64), np.uint8), r"aachen_0\.png: expected a 16-bit map .*, got uint8"),
        (np.full((64, 64), 19000, np.uint16), r"aachen_0\.png: value 19000 is outside"),
        (np.full((64, 64), STORED_VOID - 1, np.uint16), r"value 65534 is outside"),
        (np.zeros((32, 64), np.uint16), r"label is \[32, 64\], its image \[64, 64\]"),
    ],
)
def test_a_broken_map_is_named(ids, message, tmp_path):
    write_packed_cityscapes(tmp_path, {"train": 1})
    replace_ids(tmp_path, ids)
    with pytest.raises(DataError, match=message):
        packed_cityscapes_sources(tmp_path, "train")[0].read()


def test_a_missing_or_foreign_list_shows_the_layout(tmp_path):
    with pytest.raises(DataError, match=r"frames\.csv: cannot be read"):
        packed_cityscapes_sources(tmp_path, "train")
    (tmp_path / "frames.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="ROOT/ids"):
        packed_cityscapes_sources(tmp_path, "train")
