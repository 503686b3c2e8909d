"""Answers that look valid and are not: a network that repeats itself, masks that are all zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.perception import Perception
from m2a_core.stream.answer_quality import FROZEN_NETWORK, NO_MASKS, REPEATS, AnswerQuality
from m2a_core.stream.camera_stream import CameraStream
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.sensors import Sensors
from m2a_core.types import ALL_OUTPUTS, Frame


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (96, 128, 3), dtype=np.uint8)


def answer(value: float, masks: bool = True) -> NetworkOutput:
    score = np.full((96, 128), value, np.float32)
    return NetworkOutput(
        anomaly=score,
        refined=score,
        semantic=np.zeros((96, 128), np.uint8),
        background=score,
        winning_query=np.zeros((24, 32), np.int32),
        query_masks=np.full((3, 24, 32), masks),
        class_probs=np.full((3, 12), 1 / 12, np.float32),
    )


def test_the_same_answer_to_different_images_is_told_until_another_one_comes() -> None:
    quality = AnswerQuality()
    told = [quality.judge(image(seed), [answer(0.5)]) for seed in range(REPEATS + 1)]
    assert told == [""] * (REPEATS - 1) + [FROZEN_NETWORK] * 2
    assert quality.judge(image(99), [answer(0.25)]) == ""


def test_the_same_answer_to_the_same_image_is_right() -> None:
    quality = AnswerQuality()
    assert {quality.judge(image(1), [answer(0.5)]) for _ in range(3 * REPEATS)} == {""}


@pytest.mark.parametrize("change", [1, 4])
def test_images_differ_by_more_than_noise(change: int) -> None:
    quality, picture = AnswerQuality(), np.full((96, 128, 3), 100, np.uint8)
    told = [quality.judge(picture + np.uint8(change * (number % 2)), [answer(0.5)]) for number in range(REPEATS)]
    assert told[-1] == ("" if change == 1 else FROZEN_NETWORK)


def test_masks_that_are_all_zero_are_told_at_once() -> None:
    assert AnswerQuality().judge(image(1), [answer(0.5, masks=False)]) == NO_MASKS


def test_without_an_answer_nothing_is_told() -> None:
    assert AnswerQuality().judge(image(1), []) == ""


def test_a_frame_has_the_fault_of_its_own_answer_where_the_next_one_is_answered_before_it_is_tracked(
    tiny: Path,
) -> None:
    perception, stream = Perception.load(tiny, threads=1), CameraStream()
    road = np.full((96, 128, 3), (0, 255, 0), np.uint8)
    nothing_known = np.full((96, 128, 3), 64, np.uint8)
    answered = []
    for number, rgb in enumerate((road, nothing_known, road)):
        frame = Frame(rgb, 10**18 + number * 10**8, "optical", "front")
        prepared = stream.prepare(frame, Sensors(), perception.manifest.input_size, StreamConfig())
        task = stream.begin(prepared, ALL_OUTPUTS, perception)
        perception.run([task])
        answered.append((prepared, stream.finish(prepared, task, perception)))
    tracked = [stream.track(prepared, result, perception) for prepared, result in answered]
    assert [NO_MASKS in result.degraded for result in tracked] == [False, True, False]
