from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError, DataError
from m2a_core.export.camera_graph import resampling
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD, PADDING_COLOR, Letterbox
from m2a_core.resize import resized

side = st.integers(1, 300)
sizes = st.tuples(side, side)
inputs = st.tuples(st.integers(8, 40), st.integers(8, 40)).map(lambda s: (4 * s[0], 4 * s[1]))


@given(original=sizes, input_size=inputs)
def test_image_fits_the_input_and_touches_one_side(original, input_size):
    geometry = Letterbox(input_size).geometry(*original)
    assert all(1 <= v <= n for v, n in zip(geometry.valid, input_size, strict=True))
    assert geometry.valid[0] == input_size[0] or geometry.valid[1] == input_size[1]


@given(original=sizes, input_size=inputs)
def test_aspect_ratio_is_kept_to_the_rounding_of_one_pixel(original, input_size):
    geometry = Letterbox(input_size).geometry(*original)
    factor = min(input_size[0] / original[0], input_size[1] / original[1])
    for valid, size in zip(geometry.valid, original, strict=True):
        assert abs(valid - size * factor) <= 0.5 or valid == 1


@settings(max_examples=60, deadline=None)
@given(original=sizes, input_size=inputs)
def test_padding_has_the_mean_colour_and_the_image_is_top_left(original, input_size):
    image = np.full((*original, 3), 255, np.uint8)
    out, geometry = Letterbox(input_size).apply(image)
    assert out.shape == (*input_size, 3)
    assert out.dtype == np.uint8
    inside = np.zeros(input_size, bool)
    inside[: geometry.valid[0], : geometry.valid[1]] = True
    assert (out[inside] == 255).all()
    assert (out[~inside] == PADDING_COLOR).all()


def test_padding_is_about_zero_after_normalisation():
    normalised = (np.array(PADDING_COLOR) - IMAGENET_MEAN) / IMAGENET_STD
    assert np.abs(normalised).max() < 0.01


@settings(max_examples=80, deadline=None)
@given(data=st.data(), original=st.tuples(st.integers(16, 300), st.integers(16, 300)), input_size=inputs)
def test_marked_spot_comes_back_to_its_place(data, original, input_size):
    """A blob's centre of mass survives apply and undo within one pixel of the coarser of both grids."""
    y = data.draw(st.integers(0, original[0] - 1))
    x = data.draw(st.integers(0, original[1] - 1))
    letterbox = Letterbox(input_size)
    geometry = letterbox.geometry(*original)
    pixel = max(1.0, *(1 / s for s in geometry.scale))
    radius = int(np.ceil(2 * pixel))
    image = np.zeros((*original, 3), np.uint8)
    rows, cols = np.mgrid[: original[0], : original[1]]
    blob = np.maximum(abs(rows - y), abs(cols - x)) <= radius
    image[blob] = 255
    out, geometry = letterbox.apply(image)
    back = geometry.undo_continuous(out[..., 0].astype(np.float32))
    assert back.shape == original
    expected = rows[blob].mean(), cols[blob].mean()
    found = (back * rows).sum() / back.sum(), (back * cols).sum() / back.sum()
    assert np.hypot(found[0] - expected[0], found[1] - expected[1]) <= pixel


@settings(max_examples=80, deadline=None)
@given(original=sizes, input_size=inputs, stride=st.sampled_from([1, 4]), seed=st.integers(0, 99))
def test_labels_stay_labels_and_come_from_the_cell_under_the_pixel(original, input_size, stride, seed):
    geometry = Letterbox(input_size).geometry(*original)
    shape = (input_size[0] // stride, input_size[1] // stride)
    ids = np.random.default_rng(seed).choice([0, 3, 11, 255], shape).astype(np.uint8)
    back = geometry.undo_labels(ids, stride)
    assert back.shape == original
    assert back.dtype == ids.dtype
    row = np.random.default_rng(seed).integers(original[0])
    col = np.random.default_rng(seed + 1).integers(original[1])
    cell_y = int((int(row) + Fraction(1, 2)) * geometry.valid[0] / original[0] / stride)
    cell_x = int((int(col) + Fraction(1, 2)) * geometry.valid[1] / original[1] / stride)
    assert back[row, col] == ids[min(cell_y, shape[0] - 1), min(cell_x, shape[1] - 1)]


@settings(max_examples=80, deadline=None)
@given(original=sizes, input_size=inputs, dtype=st.sampled_from([np.uint8, np.uint16]), data=st.data())
def test_a_window_of_labels_is_that_of_the_whole_image(original, input_size, dtype, data):
    geometry = Letterbox(input_size).geometry(*original)
    ids = np.random.default_rng(0).integers(0, 256, input_size).astype(dtype)
    spans = []
    for side in original:
        start = data.draw(st.integers(0, side - 1))
        spans.append(slice(start, data.draw(st.integers(start + 1, side))))
    window = spans[0], spans[1]
    np.testing.assert_array_equal(geometry.undo_labels(ids, window=window), geometry.undo_labels(ids)[window])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, bool])
def test_labels_of_any_dtype_and_padding_is_dropped(dtype):
    geometry = Letterbox((8, 16)).geometry(8, 8)
    ids = np.zeros((8, 16), dtype)
    ids[:, 8:] = 1
    back = geometry.undo_labels(ids)
    assert back.dtype == dtype
    assert not back.any()


def test_image_of_the_input_size_passes_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    out, geometry = Letterbox((96, 128)).apply(image)
    assert np.array_equal(out, image)
    assert geometry.scale == (1.0, 1.0)
    values = image[..., 0].astype(np.float32)
    assert np.array_equal(geometry.undo_continuous(values), values)


@pytest.mark.parametrize("bad", [(0, 128), (96, -1), (96,)])
def test_impossible_input_size_is_refused(bad):
    with pytest.raises(ConfigError, match="input size"):
        Letterbox(bad)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "gray", "no rows"],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(DataError, match=r"expected uint8 \[any, any, 3\]"):
        Letterbox((96, 128)).apply(image)


@pytest.mark.parametrize(("factor", "grey_levels"), [(2, 0.5), (3, 0.5), (4, 1.0), (6, 1.0), (8, 1.5), (16, 2.0)])
def test_a_whole_factor_averages_blocks_to_the_stated_error(factor, grey_levels):
    image = np.random.default_rng(factor).integers(0, 256, (12 * factor, 16 * factor, 3), np.uint8)
    mean = image.reshape(12, factor, 16, factor, 3).mean(axis=(1, 3))
    shrunk, _ = Letterbox((12, 16)).apply(image)
    assert np.abs(shrunk - mean).max() <= grey_levels + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 60), st.integers(1, 16), st.integers(1, 5), st.integers(2, 60), st.integers(1, 50), st.integers(0, 9)
)
def test_an_average_over_areas_is_the_exact_one_to_rounding(group, made, groups, width, columns, seed):
    height, rows, columns = group * groups, made * groups, min(columns, width)
    assume(2 * rows <= height)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    down, across = resampling(height, rows, True), resampling(width, columns, True)
    exact = np.einsum("rh,hwc,vw->rvc", down, image, across)
    # Rounded once or twice; OpenCV halves for each factor of two where both sides are whole multiples.
    halvings = 0.5 * np.log2(height / rows) if height % rows == 0 and width * rows == columns * height else 0.0
    assert np.abs(resized(image, (rows, columns)) - exact).max() <= 0.52 + halvings


@pytest.mark.slow
@pytest.mark.parametrize("original", [(1080, 1920), (720, 1280), (1024, 2048), (2160, 3840)])
def test_a_smooth_image_is_averaged_also_where_the_factor_is_no_whole_one(original):
    rows, columns = np.mgrid[0 : 1 : original[0] * 1j, 0 : 1 : original[1] * 1j]
    image = np.stack([255 * rows, 255 * columns, 127 + 60 * np.sin(9 * rows) * np.cos(7 * columns)], 2).astype(np.uint8)
    letterbox = Letterbox((320, 576))
    got, geometry = letterbox.apply(image)
    height, width = geometry.valid
    want = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(got[:height, :width].astype(int) - want).max() <= 1
