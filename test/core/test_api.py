"""The Python interface: load, call, look, save, hand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import m2a_core as m2a
from m2a_core.errors import ConfigError, DataError
from test.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> m2a.Model:
    return m2a.load(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"), threads=1)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rgb = np.zeros((96, 128, 3), np.uint8)
    rgb[:48], rgb[48:] = (0, 0, 255), (0, 255, 0)
    rgb[56:80, 8:40] = (255, 0, 0)
    return rgb


def test_an_array_and_its_file_give_the_same(model, image, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    of_array, of_file = model(image), model(tmp_path / "a.png")
    np.testing.assert_array_equal(of_array.score, of_file.score)
    np.testing.assert_array_equal(of_array.image, of_file.image)
    (item,) = of_array.instances
    assert item.bbox == (8, 56, 40, 80)
    assert (of_array.open_set[60:76, 12:36] == model.labels.unknown_id).all()
    assert of_array.unknown_instances[70, 20] == item.id
    assert of_array.panoptic[70, 20] == 256 * model.labels.unknown_id + item.id
    assert of_array.anomaly[70, 20] > 0.5 > of_array.anomaly[90, 100]


def test_a_view_that_is_not_contiguous_is_taken(model, image):
    bgr = np.ascontiguousarray(image[..., ::-1])
    np.testing.assert_array_equal(model(bgr[..., ::-1]).score, model(image).score)


def test_what_is_saved_can_be_read(model, image, tmp_path):
    result = model(image)
    result.save(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as maps:
        np.testing.assert_array_equal(maps["anomaly"], result.anomaly)
        np.testing.assert_array_equal(maps["open_set"], result.open_set)
    for legend in (True, False):
        result.save(str(tmp_path / "overlay.png"), legend)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "overlay.png"))[..., ::-1], result.overlay(legend))
    np.testing.assert_array_equal(result.overlay(legend=True)[: image.shape[0]], result.overlay())
    with pytest.raises(DataError, match=r"notes\.txt: expected \.npz"):
        result.save(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="cannot write"):
        result.save("/proc/none/a.npz")


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4), np.uint8), ((4, 4, 3), np.float32), ((4, 4, 4), np.uint8)])
def test_another_array_is_refused_with_what_is_expected(model, shape, dtype):
    with pytest.raises(DataError, match=r"expected uint8 \[any, any, 3\]"):
        model(np.zeros(shape, dtype))


def test_a_video_s_objects_keep_their_ids_and_have_places(model, tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for x in range(40, 64, 4):
        bgr = np.full((96, 128, 3), (0, 255, 0), np.uint8)
        bgr[64:80, x : x + 16] = (0, 0, 255)
        writer.write(bgr)
    writer.release()
    calibration = tmp_path / "camera.yaml"
    matrices = {"camera_matrix": [100, 0, 64, 0, 100, 48, 0, 0, 1], "distortion_coefficients": [0, 0, 0, 0, 0]}
    calibration.write_text(
        "image_width: 128\nimage_height: 96\ndistortion_model: plumb_bob\n"
        + "".join(f"{name}: {{data: {values}}}\n" for name, values in matrices.items())
    )
    results = list(model.track(path, calibration=calibration, mounting="height=1.5"))
    assert [result.stamp_ns for result in results] == [10**8 * i for i in range(6)]
    (last,) = results[-1].objects
    assert {item.instance.id for result in results for item in result.objects} == {last.instance.id}
    assert results[-1].unknown_instances[72, 66] == last.instance.id
    x, y = last.instance.contact
    assert last.location.distance == pytest.approx(1.5 / (y - 48) * np.hypot(100, x - 64), rel=1e-6)
    assert model(results[-1].image).objects == ()


def test_logits_give_the_graph_s_own_score(model, image):
    logits = model.logits(image)
    classes = np.exp(logits.class_logits) / np.exp(logits.class_logits).sum(1, keepdims=True)
    small = 1 / (1 + np.exp(-logits.mask_logits))
    f = 1 - np.einsum("qk,qhw->khw", classes[:, :-1], small).max(axis=0)
    inside = np.zeros(image.shape[:2], bool)
    inside[60:76, 12:36] = True
    at_size = logits.at_image_size(f.astype(np.float32))
    assert at_size.shape == image.shape[:2]
    assert at_size[inside].min() > 0.9 > 0.5 > at_size[90, 100]


def test_unknown_objects_as_detections_of_supervision(model, image):
    sv = pytest.importorskip("supervision", reason="needs the package supervision")
    detections = model(image).to_detections()
    assert isinstance(detections, sv.Detections)
    assert detections.xyxy.tolist() == [[8, 56, 40, 80]]
    # The network's masks blur at corners.
    assert 0.98 * detections.box_area.sum() <= detections.mask.sum() <= detections.box_area.sum()
    road = np.full((96, 128, 3), (0, 255, 0), np.uint8)
    assert len(model(road).to_detections()) == 0


def test_detections_without_supervision_say_what_to_install(model, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="pip install supervision"):
        model(image).to_detections()


def test_importing_the_package_alone_brings_nothing_heavy():
    program = "import sys, m2a_core; print(sorted({'onnxruntime', 'cv2', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert set(m2a.__all__) >= {"load", "Model", "Result", "__version__"}
    assert all(getattr(m2a, name) is not None for name in m2a.__all__)
