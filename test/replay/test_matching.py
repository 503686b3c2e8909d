"""Which image an answer is of, when several have one stamp."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_ros.replay.matching import SentImages
from m2a_ros.replay.player import Sent, SentLog

KEY = ("front", 5, "optical")


def sent(at: int, stamp: int = 5, camera: str = "front", frame_id: str = "optical") -> Sent:
    return Sent(camera, stamp, at, at, at, False, frame_id)


def images(*many: Sent) -> SentImages:
    made = SentImages()
    for image in many:
        made.add(image)
    return made


def test_an_answer_before_the_stamp_comes_again_is_sure():
    made = images(sent(10), sent(20, 6))
    assert made.match(KEY, 15) == (sent(10), True)
    made.add(sent(30))
    assert made.match(("front", 6, "optical"), 31) == (sent(20, 6), True)
    assert made.match(KEY, 40) == (sent(30), True)
    assert (made.unanswered(), made.sharing_a_stamp()) == ([], 2)


def test_a_lost_image_is_told_from_its_double_by_the_answers_between():
    made = images(sent(10), sent(20, 6), sent(30))
    assert made.match(("front", 6, "optical"), 25) == (sent(20, 6), True)
    assert made.match(KEY, 40) == (sent(30), True)
    assert made.unanswered() == [sent(10)]


def test_what_cannot_be_told_is_not_sure():
    made = images(sent(10), sent(20))
    assert made.match(KEY, 30) == (sent(10), False)
    assert made.unanswered() == [sent(20)]


def test_cameras_have_orders_of_their_own():
    made = images(sent(10), sent(20, 6, "rear"))
    assert made.match(("rear", 6, "optical"), 25) == (sent(20, 6, "rear"), True)
    assert made.match(KEY, 40) == (sent(10), True)


def test_an_answer_to_nothing_is_none():
    made = images(sent(10))
    assert made.match(("front", 7, "optical"), 20) is None
    assert made.match(KEY, 20)
    assert made.match(KEY, 21) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_sure_answers_are_right_whatever_is_lost(stamps: list[int], chance: random.Random):
    """A node that answers in order, loses some, and is at most two images behind."""
    made, queue = SentImages(), []
    for i, stamp in enumerate([*stamps, None, None, None]):
        if stamp is not None:
            image = sent(10 * i + 10, stamp)
            made.add(image)
            if chance.random() < 0.7:
                queue.append(image)
        while len(queue) > 2 or (queue and (stamp is None or chance.random() < 0.5)):
            true = queue.pop(0)
            found = made.match(("front", true.stamp_ns, "optical"), 10 * i + 15)
            assert found is not None
            assert not found[1] or found[0] == true
    assert len(made.unanswered()) <= len(stamps)


@pytest.mark.parametrize("frame_id", ["", "a,b", 'quo"te', "line\nbreak", "\u2028\x85", "ümlaut"])
def test_the_player_s_record_survives_any_frame_id(tmp_path, frame_id):
    (tmp_path / "sent.csv").write_text(sent(10, frame_id=frame_id).line() + sent(11).line(), encoding="utf-8")
    assert SentLog(tmp_path / "sent.csv").new() == [sent(10, frame_id=frame_id), sent(11)]
