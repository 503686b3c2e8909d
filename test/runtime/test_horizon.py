"""The window at the road's far end: where it lies, that it keeps still, and what it adds to one look."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import InferenceError
from m2a_core.geometry.crop import Region, place_back
from m2a_core.labels.builtin import CAMVID11
from m2a_core.perception import Perception
from m2a_core.perception import horizon as hz
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Done
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.types import FarEnd, Frame, Output
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle

COLORS = tiny_colors()
INPUT = (96, 128)
SIZE = (768, 1024)
fraction = st.floats(0, 1)


def street(red: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Sky above a road that ends half-way up, right of the middle; a red box x0, y0, x1, y1 on it."""
    image = np.full((*SIZE, 3), COLORS["sky"], np.uint8)
    image[384:, 256:] = COLORS["road"]
    if red is not None:
        x0, y0, x1, y1 = red
        image[y0:y1, x0:x1] = RED
    return image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def twice(bundle) -> Perception:
    return Perception.load(bundle, threads=1)


@pytest.fixture(scope="module")
def once(bundle) -> Perception:
    return Perception.load(bundle, threads=1, horizon=False)


@given(
    st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.sampled_from([(96, 128), (360, 480), (512, 1024)]),
)
def test_the_window_lies_inside_image_and_canvas(target, size, input_size) -> None:
    geometry = Letterbox(input_size).geometry(*size)
    canvas = hz.canvas_of(geometry)
    placement = hz.place_window(target, geometry, input_size)
    assert 0 <= placement.y <= placement.y + placement.height <= canvas.valid[0]
    assert 0 <= placement.x <= placement.x + placement.width <= canvas.valid[1]
    assert placement.height <= input_size[0]
    assert placement.width <= input_size[1]
    if hz.has_detail(geometry):
        x0, y0, x1, y1 = hz.box_of(placement, canvas)
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]


@given(st.tuples(fraction, fraction), st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)), max_size=8))
def test_a_far_end_that_trembles_leaves_the_window_still(start, steps) -> None:
    held = hz.steady(None, start)
    for dy, dx in steps:
        assert hz.steady(held, (start[0] + dy, start[1] + dx)) == held


@given(st.tuples(fraction, fraction), st.tuples(fraction, fraction))
def test_the_window_follows_a_far_end_that_goes(before, seen) -> None:
    after = hz.steady(before, seen)
    assert np.abs(np.subtract(after, seen)).max() <= 0.06 + 1e-9
    # It moves no further than it must.
    assert all(abs(a - b) <= abs(s - b) for a, b, s in zip(after, before, seen, strict=True))


def test_without_a_road_the_window_stays_and_without_any_ever_it_is_at_the_usual_horizon() -> None:
    assert hz.steady((0.3, 0.7), None) == (0.3, 0.7)
    assert hz.steady(None, None) == hz.FALLBACK


@pytest.mark.parametrize(
    ("last", "stamp", "follows"),
    [
        (10**9, 11 * 10**8, True),
        (10**9, 10**9, False),
        (10**9, 9 * 10**8, False),
        (10**9, 3 * 10**9, False),
        (0, 1, False),
    ],
)
def test_a_frame_follows_on_one_a_little_older(last, stamp, follows) -> None:
    assert hz.held(FarEnd(0.4, 0.5, last, SIZE), stamp, SIZE) == ((0.4, 0.5) if follows else None)
    assert hz.held(FarEnd(0.4, 0.5, last, SIZE), stamp, (50, 50)) is None
    assert hz.held(None, stamp, SIZE) is None


def test_a_small_box_far_away_is_found_in_the_second_look_alone(once, twice) -> None:
    """Ten pixels of a cell of 32 do not change its colour much; of the window's cells of 16 they do."""
    image = street((675, 435, 685, 445))
    middle = (440, 680)
    blind, seeing = once.infer(Frame(image)), twice.infer(Frame(image))
    assert blind.instances == ()
    assert len(seeing.instances) == 1
    (instance,) = seeing.instances
    x0, y0, x1, y1 = instance.bbox
    assert x0 <= middle[1] < x1
    assert y0 <= middle[0] < y1
    assert seeing.unknown_instances[middle] == instance.id
    assert seeing.open_set[middle] == CAMVID11.unknown_id
    assert seeing.score[middle] > blind.score[middle]


def test_what_lies_outside_the_window_is_as_in_one_look(once, twice) -> None:
    image = street((768, 704, 960, 768))
    one, two = once.infer(Frame(image)), twice.infer(Frame(image))
    x0, y0, x1, y1 = two.horizon.box
    outside = np.ones(SIZE, bool)
    outside[max(0, y0 - 16) : y1 + 16, max(0, x0 - 16) : x1 + 16] = False
    assert len(one.instances) == len(two.instances) == 1
    same = one.open_set[outside] == two.open_set[outside]
    # Borders are interpolated in one step or in two.
    assert same.mean() > 0.99
    assert np.abs(np.subtract(one.instances[0].bbox, two.instances[0].bbox)).max() <= 8


def test_a_score_is_the_larger_of_the_two_looks_and_every_output_follows_it(once, twice) -> None:
    image = street((690, 400, 830, 520))
    one, two = once.infer(Frame(image)), twice.infer(Frame(image))
    # Up to what interpolation in two steps takes from a peak.
    for name in ("score", "anomaly", "background", "refined"):
        assert (getattr(two, name) >= getattr(one, name) - 0.2).mean() > 0.99
    np.testing.assert_array_equal(two.open_set == CAMVID11.unknown_id, two.score >= 0.5)
    unknown = two.panoptic // 256 == CAMVID11.unknown_id
    np.testing.assert_array_equal(unknown, two.unknown_instances > 0)


def test_an_object_that_the_window_cuts_is_one_object(twice) -> None:
    edge = twice.infer(Frame(street())).horizon.box[0]
    result = twice.infer(Frame(street((edge - 64, 512, edge + 64, 640))))
    assert edge - 32 < result.horizon.box[0] < edge + 32
    assert len(result.instances) == 1


def test_images_without_more_detail_are_looked_at_once(once, twice) -> None:
    image = cv2.resize(street(), (160, 120), interpolation=cv2.INTER_NEAREST)
    result = twice.infer(Frame(image))
    assert result.horizon is None
    np.testing.assert_array_equal(result.score, once.infer(Frame(image)).score)


@pytest.mark.parametrize("shape", [(150, 900), (900, 150), (301, 777), (768, 1024)], ids=str)
def test_every_map_has_the_image_s_size(twice, shape) -> None:
    image = cv2.resize(street(), shape[::-1], interpolation=cv2.INTER_NEAREST)
    result = twice.infer(Frame(image))
    assert result.horizon is not None
    for output in Output:
        assert getattr(result, output.value).shape == shape


def test_a_stream_keeps_its_window_and_pictures_do_not(twice) -> None:
    moved = np.roll(street(), 40, axis=1)
    first = twice.infer(Frame(street(), stamp_ns=10**9))
    second = twice.infer(Frame(moved, stamp_ns=11 * 10**8), last=first.horizon.far_end)
    third = twice.infer(Frame(moved, stamp_ns=12 * 10**8), last=second.horizon.far_end)
    assert first.horizon.box == second.horizon.box == third.horizon.box
    assert twice.infer(Frame(moved)).horizon.box != first.horizon.box


def test_both_looks_go_as_one_batch_where_the_runtime_takes_it(bundle) -> None:
    class Batches(OnnxRuntime):
        """Takes two images at once, as an accelerator does; here one after the other."""

        taken: list[int]

        def submit(self, images, raw=False):
            self.taken.append(len(images))
            return Done([self.infer(image, raw) for image in images])

    loaded = load_bundle(bundle)
    plain, batches = OnnxRuntime(loaded, threads=1), Batches(loaded, threads=1)
    batches.batch_sizes, batches.taken = (1, 2), []
    frames = [Frame(street((672, 432, 712, 472)), stamp_ns=n * 10**8 + 10**9) for n in range(3)]
    results = []
    for runtime in (plain, batches):
        perception, far_end = Perception(loaded.manifest, runtime), None
        results.append([])
        for frame in frames:
            result = perception.infer(frame, last=far_end)
            far_end = result.horizon.far_end
            results[-1].append(result)
    # The first frame of a stream has to see the road before the window can be placed.
    assert batches.taken == [1, 1, 2, 2]
    for one, other in zip(*results, strict=True):
        assert one.horizon == other.horizon
        np.testing.assert_array_equal(one.score, other.score)


def test_the_network_is_done_with_a_frame_before_its_result_is_made(bundle, twice) -> None:
    loaded = load_bundle(bundle)
    runtime = OnnxRuntime(loaded, threads=1)
    perception, image = Perception(loaded.manifest, runtime), street((672, 432, 712, 472))
    task = perception.begin(Frame(image), frozenset({Output.SCORE}))
    perception.run([task])
    assert task.images == ()
    assert len(task.outputs) == 2
    runtime.submit = None  # Nobody may use it now: the next frame's thread does.
    np.testing.assert_array_equal(perception.finish(task).score, twice.infer(Frame(image)).score)


def test_a_second_look_that_fails_is_tried_again_by_itself(bundle, twice) -> None:
    class FailsOnce(OnnxRuntime):
        """Gives its second answer at the second try."""

        calls = 0

        def submit(self, images, raw=False):
            self.calls += 1
            if self.calls == 2:
                raise InferenceError("once")
            return super().submit(images, raw)

    loaded = load_bundle(bundle)
    perception, image = Perception(loaded.manifest, FailsOnce(loaded, threads=1)), street((672, 432, 712, 472))
    task = perception.begin(Frame(image), frozenset({Output.SCORE}))
    with pytest.raises(InferenceError):
        perception.run([task])
    perception.run([task])
    np.testing.assert_array_equal(perception.finish(task).score, twice.infer(Frame(image)).score)


def test_a_model_that_knows_no_road_looks_once(bundle) -> None:
    loaded = load_bundle(bundle)
    manifest = replace(loaded.manifest, labels=replace(loaded.manifest.labels, road=None))
    assert Perception(manifest, OnnxRuntime(loaded, threads=1)).infer(Frame(street())).horizon is None


def test_the_window_of_a_crop_is_given_in_the_image(twice) -> None:
    result = twice.infer(Frame(street()))
    x0, y0, x1, y1 = result.horizon.box
    placed = place_back(result, Region(30, 20, SIZE[1], SIZE[0]), (SIZE[0] + 50, SIZE[1] + 60))
    assert placed.horizon.box == (x0 + 30, y0 + 20, x1 + 30, y1 + 20)
