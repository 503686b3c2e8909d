"""The soak's figures: slopes, and when it counts as held."""

from __future__ import annotations

import pytest

from benchmarks.soak import COLUMNS, draw, slope_per_hour, summary_of


def rows(count: int = 60, grows: float = 0.0, **changes: float) -> list[dict[str, float]]:
    """A row a minute whose memory grows by so many MiB an hour."""
    base = dict.fromkeys(COLUMNS, 10.0) | {"wrong_stamps": 0.0}
    return [{**base, "seconds": 60.0 * i, "rss_mib": 200 + grows * i / 60, **changes} for i in range(count)]


def test_the_slope_is_that_of_the_second_half_per_hour():
    measured = rows(grows=12.0)
    assert slope_per_hour(measured, "rss_mib") == pytest.approx(12.0)
    flat = rows(30) + [{**row, "seconds": row["seconds"] + 1800} for row in rows(30)]
    assert slope_per_hour(flat, "rss_mib") == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("measured", "alive", "held"),
    [
        (rows(), True, True),
        (rows(grows=100.0), True, False),
        (rows(wrong_stamps=1.0), True, False),
        (rows(), False, False),
    ],
)
def test_a_soak_holds_when_nothing_grows_no_stamp_is_wrong_and_the_node_lives(measured, alive, held):
    assert summary_of(measured, alive)["held"] is held


def test_the_curves_are_one_svg():
    assert draw(rows()).count("<polyline") == 5
