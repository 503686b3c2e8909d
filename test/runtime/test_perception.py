"""The whole line on pictures whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m2a_core.errors import ModelError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.perception import Perception
from m2a_core.runtime.base import infer_images
from m2a_core.types import ALL_OUTPUTS, Frame, Output
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle

COLORS = tiny_colors()
ROAD, SKY = CAMVID11.names.index("road"), CAMVID11.names.index("sky")


def scene(factor: float = 1) -> np.ndarray:
    """Sky above road with a red box on it; at the network's size, then resized."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[:48] = COLORS["sky"]
    image[48:] = COLORS["road"]
    image[60:80, 40:80] = RED
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def perception(tmp_path_factory) -> Perception:
    return Perception.load(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"), threads=1)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_red_box_is_the_one_unknown_instance_and_lies_where_it_was_drawn(perception, factor):
    image = scene(factor)
    result = perception.infer(Frame(image))
    box = (image == RED).all(-1)
    margin = np.ones((4 * factor + 1, 4 * factor + 1), np.uint8)
    inside = cv2.erode(box.astype(np.uint8), margin) > 0
    outside = cv2.dilate(box.astype(np.uint8), margin) == 0
    assert (result.open_set[inside] == CAMVID11.unknown_id).all()
    assert (result.anomaly[inside] > 0.98).all()
    assert not (result.open_set[outside] == CAMVID11.unknown_id).any()
    assert len(result.instances) == 1
    assert (result.unknown_instances[inside] == result.instances[0].id).all()
    x0, y0, x1, y1 = (value / factor for value in result.instances[0].bbox)
    assert np.abs(np.array([x0, y0, x1, y1]) - (40, 60, 80, 80)).max() <= 2


def test_sky_and_road_keep_their_classes(perception):
    result = perception.infer(Frame(scene()))
    assert (result.semantic[:44] == SKY).all()
    assert (result.semantic[84:] == ROAD).all()
    assert (result.panoptic[:44] // 256 == SKY).all()
    assert (result.panoptic[84:] // 256 == ROAD).all()


@pytest.mark.parametrize("shape", [(50, 200), (200, 50), (333, 97), (1, 1)], ids=str)
def test_every_map_has_the_image_s_size_and_the_padding_is_not_seen(perception, shape):
    result = perception.infer(Frame(np.full((*shape, 3), COLORS["road"], np.uint8)))
    for output in Output:
        assert getattr(result, output.value).shape == shape
    assert (result.semantic == ROAD).all()
    assert result.instances == ()


@pytest.mark.parametrize("output", list(Output))
def test_only_what_is_wanted_is_computed_and_equals_the_full_result(perception, output):
    full = perception.infer(Frame(scene(2)))
    one = perception.infer(Frame(scene(2)), frozenset({output}))
    assert np.array_equal(getattr(one, output.value), getattr(full, output.value))
    assert all(getattr(one, other.value) is None for other in ALL_OUTPUTS - {output})


def test_result_has_the_dtypes_it_promises(perception):
    result = perception.infer(Frame(scene()))
    dtypes = {output.value: getattr(result, output.value).dtype.name for output in Output}
    assert dtypes == {
        "anomaly": "float32",
        "background": "float32",
        "score": "float32",
        "refined": "float32",
        "refined_road": "float32",
        "semantic": "uint8",
        "open_set": "uint8",
        "panoptic": "int32",
        "unknown_instances": "uint16",
    }


def test_stages_are_timed(perception):
    assert perception.infer(Frame(scene())).timings_ms.keys() == {"preprocess", "network", "heads"}


def test_missing_model_is_named():
    with pytest.raises(ModelError, match="model 'no-such-model'"):
        Perception.load("no-such-model")


class SteppingRuntime:
    """A fake accelerator that takes up to two images at once and notes what is asked of it, in order."""

    input_size, batch_sizes, is_accelerator = (96, 128), (1, 2), True

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._waiting = 0

    def submit(self, images: np.ndarray, raw: bool = False) -> SteppingRuntime:
        self.steps.append(f"submit {len(images)}")
        self._waiting = len(images)
        return self

    def result(self) -> list[str]:
        self.steps.append("result")
        return ["answer"] * self._waiting


def test_other_work_is_done_while_the_accelerator_has_its_first_batch() -> None:
    runtime = SteppingRuntime()
    answers = infer_images(runtime, [scene()] * 3, meanwhile=lambda: runtime.steps.append("other work"))
    assert runtime.steps == ["submit 2", "other work", "result", "submit 1", "result"]
    assert answers == ["answer"] * 3


def test_an_answer_is_taken_also_where_the_other_work_fails() -> None:
    runtime = SteppingRuntime()
    with pytest.raises(ZeroDivisionError):
        infer_images(runtime, [scene()], meanwhile=lambda: 1 // 0)
    assert runtime.steps == ["submit 1", "result"]
