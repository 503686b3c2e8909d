from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time

from m2a_ros.camera.stamps import StampCheck, stamp_to_ns

NOW = 1_700_000_000 * 10**9
SECOND = 10**9


@pytest.mark.parametrize(
    ("stamps", "want"),
    [
        ([NOW, NOW + 1, NOW + 1, NOW + SECOND], [None, None, None, None]),
        ([0, 0, NOW], ["zero", "zero", None]),
        ([NOW, NOW - 1, NOW - 1, NOW], [None, "jumped_back", None, None]),
        ([5, 6, 5], [None, None, "jumped_back"]),
        ([NOW + SECOND + 1], ["in_future"]),
        ([NOW + 100 * SECOND, NOW], ["in_future", "jumped_back"]),
        ([NOW, 0, NOW - 1], [None, "zero", None]),
        ([-1, -2 * SECOND, NOW], ["negative", "negative", None]),
    ],
    ids=["good", "zero", "back", "old but in order", "future", "future and back", "zero between", "before 1970"],
)
def test_stamps_are_judged_by_reason(stamps: list[int], want: list[str | None]) -> None:
    check = StampCheck()
    assert [check.judge(stamp, NOW) for stamp in stamps] == want


def test_nothing_is_in_the_future_of_a_clock_that_has_not_begun() -> None:
    assert StampCheck().judge(NOW, 0) is None


def test_stamps_of_either_sign_are_read() -> None:
    assert stamp_to_ns(Time(sec=2, nanosec=3)) == 2_000_000_003
    assert stamp_to_ns(Time(sec=-2, nanosec=999_999_999)) == -1_000_000_001
