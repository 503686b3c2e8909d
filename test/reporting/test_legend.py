"""The legend below films and sheets."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.label_set import UNKNOWN_COLOR
from m2a_core.overlay import draw_overlay
from m2a_core.reporting.legend import legend_strip
from m2a_core.types import OpenSetResult


def test_the_strip_shows_every_colour_and_takes_more_rows_where_it_is_narrow() -> None:
    wide, narrow = legend_strip(CAMVID11, 1400, (0, 230, 255)), legend_strip(CAMVID11, 400)
    assert (wide.shape[1], narrow.shape[1]) == (1400, 400)
    assert narrow.shape[0] > wide.shape[0]
    for color in (*CAMVID11.drawn_colors, UNKNOWN_COLOR):
        assert (wide == color).all(axis=2).sum() >= 100
        assert (narrow == color).all(axis=2).sum() >= 100
    assert (wide == (0, 230, 255)).all(axis=2).any()
    assert not (narrow == (0, 230, 255)).all(axis=2).any()


def test_vehicles_of_two_classes_differ_over_a_dark_image() -> None:
    ids = np.arange(19, dtype=np.uint8)[None]
    (drawn,) = draw_overlay(np.full((1, 19, 3), 15, np.uint8), OpenSetResult(open_set=ids), CITYSCAPES19).astype(int)
    vehicles = [CITYSCAPES19.names.index(name) for name in ("car", "truck", "bus")]
    for one, other in combinations(vehicles, 2):
        assert np.abs(drawn[one] - drawn[other]).sum() >= 25
