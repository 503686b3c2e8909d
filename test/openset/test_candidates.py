"""Candidate pixels of unknown instances: seeds, extent, thin structures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.openset.candidates import OPENING, Layer, candidates_of, thick

HEIGHT, WIDTH = 360, 480


def scene() -> np.ndarray:
    """A weak blob left, a strong-hearted blob right, a strong thin line below."""
    refined = np.full((HEIGHT, WIDTH), 0.05, np.float32)
    refined[100:140, 50:90] = 0.6
    refined[100:140, 300:340] = 0.6
    refined[110:130, 310:330] = 0.95
    refined[300:303, :] = 0.95
    return refined


def candidates(refined: np.ndarray, seed: float, extent: float) -> np.ndarray:
    return candidates_of([Layer(refined)], (HEIGHT, WIDTH), seed, extent)


def test_a_component_counts_where_it_contains_a_seed_and_reaches_to_its_extent() -> None:
    found = candidates(scene(), seed=0.9, extent=0.5)
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (100, 140, 300, 340)
    # The elliptic opening may round the blob's corners and takes nothing else.
    assert found.sum() >= 40 * 40 - 4 * 8


def test_thin_structures_are_no_candidates_however_high_they_score() -> None:
    assert not candidates(scene(), seed=0.9, extent=0.5)[295:310].any()


def test_a_line_does_not_join_an_object_to_its_surroundings() -> None:
    refined = scene()
    refined[118:121, 90:300] = 0.95
    found = candidates(refined, seed=0.9, extent=0.5)
    assert found[120, 320]
    assert not found[:, 60:280].any()


def test_an_extent_above_the_seed_is_the_seed() -> None:
    np.testing.assert_array_equal(candidates(scene(), 0.55, 0.9), candidates(scene(), 0.55, 0.55))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_everything(value: float) -> None:
    found = candidates(np.full((HEIGHT, WIDTH), value, np.float32), 0.9, 0.5)
    assert found.all() if value else not found.any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 90), st.floats(0.0, 1.0))
def test_thick_structures_are_those_of_an_opening_of_the_whole_map(
    seed: int, height: int, width: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    rough = cv2.resize(random.random((-(-height // 7), -(-width // 7))).astype(np.float32), (width, height))
    side = 2 * (round(height * OPENING) // 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    expected = cv2.morphologyEx((rough >= share).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    np.testing.assert_array_equal(thick([Layer(rough)], (height, width), share), expected)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8), st.data())
def test_a_window_of_thick_structures_is_that_of_the_whole(seed: int, level: float, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)

    def scores(height: int, width: int) -> np.ndarray:
        return cv2.resize(random.random((height // 6, width // 6)).astype(np.float32), (width, height))

    size = (200, 160)
    layers = [Layer(scores(100, 80), 2), Layer(scores(90, 70), 1, 40, 60)]
    spans = []
    for side in size:
        start = data.draw(st.integers(0, side - 1))
        spans.append(slice(start, data.draw(st.integers(start + 1, side))))
    window = spans[0], spans[1]
    whole = thick(layers, size, level)
    np.testing.assert_array_equal(thick(layers, size, level, window)[window], whole[window])
