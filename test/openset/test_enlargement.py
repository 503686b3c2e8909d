"""Maps of the network's size, enlarged, against those that the head makes at the image's size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.bundle.loading import load_bundle
from m2a_core.openset.enlargement import Enlargement
from m2a_core.openset.head import NATIVE
from m2a_core.perception import Perception
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.types import ALL_OUTPUTS, Frame, OpenSetResult, Output
from test.ros.messages import scene
from test.tiny_bundle import write_tiny_bundle


def sizes(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@pytest.fixture(scope="module")
def perception(tmp_path_factory: pytest.TempPathFactory) -> Perception:
    bundle = load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    return Perception(bundle.manifest, OnnxRuntime(bundle, 1))


@pytest.mark.parametrize("size", [(96, 128), (270, 480), (131, 77), (48, 64)])
def test_enlarged_maps_are_those_of_the_head(perception: Perception, size: tuple[int, int]) -> None:
    frame = Frame(scene((size[1] // 3, size[0] // 2, size[1] // 2, size[0] * 3 // 4), size))
    want = perception.infer(frame, ALL_OUTPUTS)
    task = perception.begin(frame, ALL_OUTPUTS, size=NATIVE)
    perception.run([task])
    small = perception.finish(task)
    manifest = perception.manifest
    enlargement = Enlargement(size, manifest.thresholds.anomaly, manifest.labels.unknown_id)
    scores = enlargement.scores(small.score)
    np.testing.assert_array_equal(scores, want.score)
    np.testing.assert_array_equal(enlargement.open_set(small, scores), want.open_set)
    for output in (Output.PANOPTIC, Output.UNKNOWN_INSTANCES, Output.SEMANTIC):
        got = enlargement.ids(getattr(small, output.value))
        np.testing.assert_array_equal(got, getattr(want, output.value))
    assert (want.open_set == manifest.labels.unknown_id).any()
    assert len(small.instances) == len(want.instances) > 0
    assert all(a.bbox == b.bbox and a.area == b.area for a, b in zip(small.instances, want.instances, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**31),
    st.floats(0, 1),
)
def test_a_pixel_is_unknown_exactly_where_its_score_reaches_the_threshold(
    h: int, w: int, rows: int, columns: int, seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    score = (rng.random((h, w)) * (rng.random((h, w)) > 0.6)).astype(np.float32)
    result = OpenSetResult(score=score, semantic=np.zeros((h, w), np.uint8))
    enlargement = Enlargement((rows, columns), float(np.float32(threshold)), 9)
    scores = enlargement.scores(score, np.empty((rows, columns), np.float32))
    mask = enlargement.open_set(result, scores, np.empty((rows, columns), np.uint8))
    np.testing.assert_array_equal(mask == 9, scores >= np.float32(threshold))
