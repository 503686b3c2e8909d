"""The legend below films and sheets."""

from __future__ import annotations

from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import UNKNOWN_COLOR
from m2a_core.reporting.legend import legend_strip


def test_the_strip_shows_every_colour_and_takes_more_rows_where_it_is_narrow() -> None:
    wide, narrow = legend_strip(CAMVID11, 1400, (0, 230, 255)), legend_strip(CAMVID11, 400)
    assert (wide.shape[1], narrow.shape[1]) == (1400, 400)
    assert narrow.shape[0] > wide.shape[0]
    for color in (*CAMVID11.colors, UNKNOWN_COLOR):
        assert (wide == color).all(axis=2).sum() >= 100
        assert (narrow == color).all(axis=2).sum() >= 100
    assert (wide == (0, 230, 255)).all(axis=2).any()
    assert not (narrow == (0, 230, 255)).all(axis=2).any()
