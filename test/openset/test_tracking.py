from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from m2a_core.tracking.assignment import assign
from m2a_core.tracking.tracker import Tracked, Tracker, TrackerConfig, next_track_id, panoptic_instance

AT_ONCE = TrackerConfig(min_hits=1)
PERIOD_NS = 100_000_000
Box = tuple[int, int, int, int]


class Track:
    """A tracker that is fed one frame after another."""

    def __init__(self, config: TrackerConfig = AT_ONCE) -> None:
        self.tracker, self.config, self.stamp = Tracker(), config, 10**18

    def see(self, *boxes: Box, ground: Sequence[tuple[float, float]] = (), after: int = PERIOD_NS) -> list[int | None]:
        """The numbers of those that are confirmed, None for others."""
        return [
            track.track_id if track.confirmed else None for track in self.see_all(*boxes, ground=ground, after=after)
        ]

    def see_all(
        self,
        *boxes: Box,
        ground: Sequence[tuple[float, float]] = (),
        after: int = PERIOD_NS,
        strong: Sequence[bool] | None = None,
    ) -> list[Tracked]:
        self.stamp += after
        places = np.array(ground) if ground else np.full((len(boxes), 2), np.nan)
        return self.tracker.update(self.stamp, boxes, places, self.config, strong)


A, B, C = (10, 10, 30, 30), (100, 10, 130, 40), (200, 100, 220, 120)


@given(
    st.tuples(st.integers(0, 7), st.integers(0, 7)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 0.7, 0.99]))
    )
)
@settings(deadline=None)
def test_assignment_is_as_good_as_scipy_s(affinity: np.ndarray) -> None:
    pairs = assign(affinity)
    rows, cols = linear_sum_assignment(affinity, maximize=True)
    assert sum(affinity[pair] for pair in pairs) == pytest.approx(affinity[rows, cols].sum())
    assert len({row for row, _ in pairs}) == len({col for _, col in pairs}) == len(pairs)
    assert all(affinity[pair] > 0 for pair in pairs)


@pytest.mark.parametrize("shape", [(60, 60), (80, 50), (50, 80)])
def test_assignment_of_many_is_scipy_s(shape: tuple[int, int]) -> None:
    affinity = np.random.default_rng(0).random(shape)
    rows, cols = linear_sum_assignment(affinity, maximize=True)
    assert assign(affinity) == list(zip(rows.tolist(), cols.tolist(), strict=True))


def test_the_sum_counts_and_not_the_best_single_pair() -> None:
    assert assign(np.array([[0.9, 0.8], [0.8, 0.0]])) == [(0, 1), (1, 0)]


def test_ids_follow_objects_whatever_their_order() -> None:
    track = Track()
    assert track.see(A, B, C) == [1, 2, 3]
    assert track.see(C, A, B) == [3, 1, 2]
    assert track.see(B, (300, 10, 320, 30)) == [2, 4]


def test_the_number_is_there_from_the_first_frame_and_stays() -> None:
    track = Track(TrackerConfig(min_hits=3))
    seen = [track.see_all(A)[0] for _ in range(4)]
    assert seen == [Tracked(1, False), Tracked(1, False), Tracked(1, True), Tracked(1, True)]


@pytest.mark.parametrize(
    ("support", "strong", "want"),
    [
        (0, [True, False, False, True, False], [False, False, False, True, True]),
        (4, [True, False, False, False, False], [False, False, False, True, True]),
        (4, [False, False, False, False, False], [False, False, False, True, True]),
        (0, [False, False, False, False, False], [False, False, False, False, False]),
        (1, [False, False, True, False, False], [False, True, True, True, True]),
    ],
)
def test_weak_frames_keep_a_track_and_enough_of_them_confirm_it(
    support: int, strong: list[bool], want: list[bool]
) -> None:
    track = Track(TrackerConfig(min_hits=2, min_low_hits=support))
    assert [track.see_all(A, strong=[one])[0].confirmed for one in strong] == want


def test_numbers_go_round_after_65535_and_never_share_a_panoptic_byte_with_a_living_track() -> None:
    seen = [65530]
    for _ in range(300):
        seen.append(next_track_id(seen[-1], [1]))
    assert seen[1:8] == [65531, 65532, 65533, 65534, 65535, 2, 3]
    assert 1 not in seen
    assert all(panoptic_instance(number) != panoptic_instance(1) for number in seen[1:])


def test_a_full_house_forgets_what_is_unseen_longest() -> None:
    track = Track(TrackerConfig(min_hits=1, max_age=100))
    grid = [(20 * (i % 40), 20 * (i // 40), 20 * (i % 40) + 10, 20 * (i // 40) + 10) for i in range(510)]
    track.see(*grid[:10])
    track.see(*grid[10:250])
    numbers = track.see(*grid[250:505])
    assert len({panoptic_instance(number) for number in numbers if number is not None}) == 255


def test_an_id_comes_with_the_frame_that_confirms() -> None:
    track = Track(TrackerConfig(min_hits=3))
    assert [track.see(A)[0] for _ in range(5)] == [None, None, 1, 1, 1]


def test_what_flickers_is_never_confirmed() -> None:
    track = Track(TrackerConfig(min_hits=2))
    seen = [track.see(A) if i % 2 else track.see() for i in range(10)]
    assert all(ids in ([], [None]) for ids in seen)


@pytest.mark.parametrize(("missed", "want"), [(3, 1), (4, 2)])
def test_an_unseen_object_keeps_its_id_for_so_many_frames(missed: int, want: int) -> None:
    track = Track(TrackerConfig(min_hits=1, max_age=3))
    track.see(A)
    for _ in range(missed):
        assert track.see() == []
    assert track.see(A) == [want]


@pytest.mark.parametrize(("gap_ns", "want"), [(3_000_000_000, 1), (3_000_000_001, 2)])
def test_a_long_gap_ends_all_tracks(gap_ns: int, want: int) -> None:
    track = Track()
    track.see(A)
    assert track.see(A, after=gap_ns) == [want]


def test_stamps_that_jump_back_end_all_tracks_and_reuse_no_id() -> None:
    track = Track()
    assert track.see(A, B) == [1, 2]
    assert track.see(A, B, after=-1) == [3, 4]
    assert track.see(A, B) == [3, 4]


def test_a_camera_that_stamps_nothing_is_tracked_all_the_same() -> None:
    track = Track(TrackerConfig(min_hits=2, max_age=2))
    seen = [track.see(A, after=0) for _ in range(3)]
    assert seen == [[None], [1], [1]]
    for _ in range(3):
        track.see(after=0)
    assert track.see(A, after=0) == [None]


def test_fast_small_objects_are_followed_on_the_ground() -> None:
    # 20 m/s towards the vehicle at 10 Hz: 2 m a frame; the 4 px boxes never overlap.
    track = Track()
    for i in range(10):
        x = 40 - 2.0 * i
        boxes = [(100 + 9 * i, 50 + 9 * i, 104 + 9 * i, 54 + 9 * i), (200 + 9 * i, 50 + 9 * i, 204 + 9 * i, 54 + 9 * i)]
        assert track.see(*boxes, ground=[(x, 1.5), (x, -1.5)]) == [1, 2]


def test_motion_is_carried_on_through_frames_that_miss_the_object() -> None:
    track = Track()
    boxes = [(10 + 10 * i, 10, 30 + 10 * i, 30) for i in range(8)]
    for box in boxes[:4]:
        assert track.see(box) == [1]
    track.see()
    track.see()
    # 30 px further on than where it was last seen: its 20 px box overlaps only the predicted one.
    assert track.see(boxes[6]) == [1]


def test_objects_that_pass_one_another_keep_their_ids() -> None:
    track = Track()
    for i in range(12):
        ids = track.see((10 + 8 * i, 10, 40 + 8 * i, 40), (100 - 8 * i, 30, 130 - 8 * i, 60))
        assert ids == [1, 2]


def test_far_on_the_ground_and_apart_in_the_image_is_another_object() -> None:
    track = Track()
    assert track.see(A, ground=[(20.0, 0.0)]) == [1]
    assert track.see(C, ground=[(26.0, 0.0)]) == [2]


box = st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(1, 60), st.integers(1, 60)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
frames = st.lists(
    st.tuples(
        st.sampled_from([-(10**10), -1, 0, 1, PERIOD_NS, 3 * PERIOD_NS, 10**10, 10**18]), st.lists(box, max_size=6)
    ),
    max_size=12,
)


@given(frames, st.integers(1, 3), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_whatever_comes_ids_are_unique_new_ones_rise_and_runs_repeat(
    sequence: list[tuple[int, list[Box]]], confirm: int, keep: int
) -> None:
    runs = []
    for _ in range(2):
        track = Track(TrackerConfig(confirm, 0, keep))
        runs.append([[t.track_id for t in track.see_all(*boxes, after=after)] for after, boxes in sequence])
    assert runs[0] == runs[1]
    highest = 0
    absent: dict[int, int] = {}
    for (after, boxes), ids in zip(sequence, runs[0], strict=True):
        assert len(ids) == len(boxes)
        assert len(set(ids)) == len(ids)
        new = sorted(i for i in ids if i not in absent)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
        for known in absent:
            if known in ids:
                assert absent[known] <= keep, "an id came back after its track had ended"
        jumped = not 0 <= after <= 3 * 10**9
        if jumped:
            assert all(i in new for i in ids)
        absent = {i: 0 if i in ids else absent[i] + 1 for i in {*absent, *ids}}


@given(st.lists(box, min_size=1, max_size=5), st.integers(1, 4))
@settings(deadline=None)
def test_what_stays_in_place_is_confirmed_in_time_and_keeps_its_id(boxes: list[Box], confirm: int) -> None:
    track = Track(TrackerConfig(min_hits=confirm))
    seen = [track.see(*boxes) for _ in range(confirm + 3)]
    assert all(ids == [None] * len(boxes) for ids in seen[: confirm - 1])
    assert all(sorted(ids) == list(range(1, len(boxes) + 1)) for ids in seen[confirm - 1 :])
