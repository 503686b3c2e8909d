from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import UNKNOWN_COLOR
from m2a_core.overlay import WINDOW_COLOR, draw_overlay, shrink
from m2a_core.types import UNLABELLED, FarEnd, Horizon, OpenSetResult, UnknownInstance

IMAGE = np.full((60, 80, 3), 100, np.uint8)


def test_every_class_is_painted_in_its_colour_and_unlabelled_pixels_are_left_alone():
    ids = np.full((60, 80), UNLABELLED, np.uint8)
    ids[0, :11] = np.arange(11)
    ids[1, :5] = CAMVID11.unknown_id
    out = draw_overlay(IMAGE, OpenSetResult(open_set=ids), CAMVID11).astype(float)
    assert np.allclose(out[0, :11], 0.6 * 100 + 0.4 * np.array(CAMVID11.drawn_colors), atol=1.5)
    assert np.allclose(out[1, :5], 0.25 * 100 + 0.75 * np.array(UNKNOWN_COLOR), atol=1.5)
    assert (out[2:] == 100).all()


def test_closed_set_ids_are_drawn_where_no_open_set_ids_are():
    ids = np.full((60, 80), 3, np.uint8)
    by_semantic = draw_overlay(IMAGE, OpenSetResult(semantic=ids), CAMVID11)
    assert np.array_equal(by_semantic, draw_overlay(IMAGE, OpenSetResult(open_set=ids), CAMVID11))
    assert not np.array_equal(by_semantic, IMAGE)


def test_anomaly_alone_is_drawn_as_heat_brighter_where_higher():
    anomaly = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1))
    out = draw_overlay(IMAGE, OpenSetResult(anomaly=anomaly), CAMVID11).astype(int)
    assert out[:, -1].sum() > out[:, 40].sum() > out[:, 0].sum()


def test_unknown_instances_get_a_box_and_the_input_stays_untouched():
    contour = np.array([[20, 30], [39, 30], [39, 49], [20, 49]], np.int32)
    instance = UnknownInstance(1, 0.9, 400, (20, 30, 40, 50), contour, (30.0, 50.0))
    before = IMAGE.copy()
    out = draw_overlay(IMAGE, OpenSetResult(instances=(instance,)), CAMVID11)
    assert np.array_equal(IMAGE, before)
    assert (out[49, 25] == UNKNOWN_COLOR).all()
    assert (out[40, 30] == 100).all()


def test_result_of_another_size_is_refused():
    with pytest.raises(DataError, match=r"image is \[60, 80\] but class ids are \[30, 80\]"):
        draw_overlay(IMAGE, OpenSetResult(open_set=np.zeros((30, 80), np.uint8)), CAMVID11)


def test_corners_show_the_window_that_was_looked_at_more_closely():
    result = OpenSetResult(horizon=Horizon((20, 5, 60, 25), FarEnd(0.5, 0.5, 0, (40, 80))))
    black = np.zeros((40, 80, 3), np.uint8)
    drawn = (draw_overlay(black, result, CAMVID11) == WINDOW_COLOR).all(-1)
    assert all(drawn[y, x] for y in (5, 24) for x in (20, 59))
    assert not drawn[12:18].any()
    large = replace(result, horizon=Horizon((200, 50, 600, 250), result.horizon.far_end))
    assert shrink(np.zeros((400, 800, 3), np.uint8), large, 80)[1].horizon == result.horizon
