from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time

from m2a_ros.camera.stamps import StampCheck, age_ms, stamp_to_ns

NOW = 1_700_000_000 * 10**9
SECOND = 10**9


@pytest.mark.parametrize(
    ("stamps", "want"),
    [
        ([NOW, NOW + 1, NOW + 1, NOW + SECOND], [None, None, None, None]),
        ([0, 0, NOW], ["zero", "zero", None]),
        ([NOW, NOW - 1, NOW - 1, NOW], [None, "jumped_back", None, None]),
        ([5, 6, 5], ["too_old", "too_old", "jumped_back"]),
        ([NOW - 61 * SECOND, NOW - 59 * SECOND], ["too_old", None]),
        ([NOW + SECOND + 1], ["in_future"]),
        ([NOW + 100 * SECOND, NOW], ["in_future", "jumped_back"]),
        ([NOW, 0, NOW - 1], [None, "zero", None]),
        ([-1, -2 * SECOND, NOW], ["negative", "negative", None]),
    ],
    ids=[
        "good",
        "zero",
        "back",
        "since the camera's start",
        "a minute",
        "future",
        "future and back",
        "zero between",
        "before 1970",
    ],
)
def test_stamps_are_judged_by_reason(stamps: list[int], want: list[str | None]) -> None:
    check = StampCheck()
    assert [check.judge(stamp, NOW) for stamp in stamps] == want


def test_nothing_is_in_the_future_of_a_clock_that_has_not_begun() -> None:
    assert StampCheck().judge(NOW, 0) is None


@pytest.mark.parametrize(
    ("stamp", "now", "want"),
    [
        (NOW - SECOND, NOW, 1000.0),
        (NOW + SECOND // 2, NOW, -500.0),
        (NOW + 2 * SECOND, NOW, None),
        (NOW - 61 * SECOND, NOW, None),
        (5 * SECOND, NOW, None),
        (0, NOW, None),
        (0, 5 * SECOND, None),
        (NOW, 0, None),
    ],
)
def test_an_age_is_told_where_stamp_and_clock_are_of_one_time(stamp: int, now: int, want: float | None) -> None:
    assert age_ms(stamp, now) == want


def test_stamps_of_either_sign_are_read() -> None:
    assert stamp_to_ns(Time(sec=2, nanosec=3)) == 2_000_000_003
    assert stamp_to_ns(Time(sec=-2, nanosec=999_999_999)) == -1_000_000_001
