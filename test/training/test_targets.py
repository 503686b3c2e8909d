"""From label maps to segments: void, components of things, stuff in one piece."""

from __future__ import annotations

import numpy as np

from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.targets import IGNORE, make_target

ROAD, TREE, CAR, PEDESTRIAN = 3, 5, 8, 9


def scene() -> np.ndarray:
    """Two trees, two cars that touch only at a corner of their masks' gap, one tiny pedestrian, void below."""
    label = np.full((40, 60), ROAD, np.uint8)
    label[:10, :10] = label[:10, 30:40] = TREE
    label[15:25, 5:20] = label[15:25, 30:50] = CAR
    label[30:33, 2:4] = PEDESTRIAN
    label[-4:] = IGNORE
    return label


def make(label: np.ndarray, min_component: int = 20, max_segments: int = 50, outlier: np.ndarray | None = None):
    outlier = np.zeros(label.shape, bool) if outlier is None else outlier
    return make_target(label, outlier, CAMVID11, min_component, max_segments)


def test_things_split_into_components_and_stuff_stays_whole():
    target = make(scene())
    assert sorted(target.classes.tolist()) == [ROAD, TREE, CAR, CAR]
    segments = target.segments.numpy()
    assert segments[2, 2] == segments[2, 35]
    assert segments[20, 10] != segments[20, 40]
    for i, class_id in enumerate(target.classes.tolist()):
        assert set(np.unique(scene()[segments == i])) == {class_id}


def test_cars_that_touch_at_a_corner_are_one_segment():
    label = np.full((20, 20), ROAD, np.uint8)
    label[2:8, 2:8] = label[8:14, 8:14] = CAR
    assert make(label).classes.tolist().count(CAR) == 1


def test_void_and_tiny_things_belong_to_no_segment_and_are_ignored():
    target = make(scene())
    assert PEDESTRIAN not in target.classes
    segments, label = target.segments.numpy(), target.label.numpy()
    assert (segments[-4:] == -1).all()
    assert (label[-4:] == IGNORE).all()
    assert (segments[30:33, 2:4] == -1).all()
    assert (label[30:33, 2:4] == IGNORE).all()
    assert ((segments == -1) == (label == IGNORE)).all()


def test_a_tiny_thing_counts_where_the_limit_allows_it():
    assert PEDESTRIAN in make(scene(), min_component=6).classes
    assert PEDESTRIAN not in make(scene(), min_component=7).classes


def test_small_stuff_is_kept():
    label = np.full((20, 20), ROAD, np.uint8)
    label[0, 0] = TREE
    assert TREE in make(label).classes


def test_of_too_many_segments_the_smallest_become_void():
    target = make(scene(), max_segments=3)
    assert target.classes.tolist() == [ROAD, CAR, TREE] or target.classes.tolist() == [ROAD, TREE, CAR]
    sizes = [int((target.segments == i).sum()) for i in range(3)]
    assert sizes == sorted(sizes, reverse=True)
    small_car = target.segments.numpy()[15:25, 5:20]
    assert (small_car == -1).all()
    assert (target.label.numpy()[15:25, 5:20] == IGNORE).all()


def test_a_map_of_void_alone_has_no_segments():
    target = make(np.full((8, 8), IGNORE, np.uint8))
    assert target.classes.shape == (0,)
    assert (target.segments == -1).all()


def test_the_outlier_mask_is_handed_on():
    outlier = np.zeros((40, 60), bool)
    outlier[3:5, 7:9] = True
    assert make(scene(), outlier=outlier).outlier.numpy().sum() == 4
