"""Maps in other sizes than the image's: what they hold, where they lie, and that objects stay the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.scaled_info import scaled_info
from m2a_core.openset.enlargement import Enlargement
from m2a_core.overlay import shrink
from m2a_core.perception import Perception
from m2a_core.preprocess import Geometry
from m2a_core.stream.camera_stream import CameraStream, StreamResult
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.sensors import Sensors
from m2a_core.types import ALL_OUTPUTS, Frame, OpenSetResult, Output, UnknownInstance
from test.stream.calibrations import calibration
from test.tiny_bundle import write_tiny_bundle

WIDTH, HEIGHT = 512, 288
MAPS = ("anomaly", "refined", "refined_road", "semantic", "open_set", "panoptic", "unknown_instances")


@pytest.fixture(scope="module")
def perception(tmp_path_factory: pytest.TempPathFactory) -> Perception:
    return Perception.load(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"), threads=1)


def camera_info(width: int = WIDTH, height: int = HEIGHT) -> Any:
    k = [400.0, 0.0, width / 2, 0.0, 410.0, height / 2, 0.0, 0.0, 1.0]
    p = [400.0, 0.0, width / 2, 5.0, 0.0, 410.0, height / 2, 6.0, 0.0, 0.0, 1.0, 0.0]
    return calibration(width, height, k, p)


def scene() -> np.ndarray:
    """Sky over road with two red objects."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[: HEIGHT // 2], rgb[HEIGHT // 2 :] = (0, 0, 255), (0, 255, 0)
    rgb[160:240, 100:180] = rgb[168:216, 300:348] = (255, 0, 0)
    return rgb


def seen(perception: Perception, frames: int = 2, **config: Any) -> StreamResult:
    stream, made = CameraStream(), StreamConfig(**config)
    for number in range(frames):
        frame = Frame(scene(), 10**18 + number * 10**8, "optical", "front")
        result = stream.process(frame, Sensors(camera_info()), ALL_OUTPUTS, perception, made)
    return result


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("resolution", ["network", (256, 144), (400, 300), (640, 360)])
def test_objects_are_the_same_at_any_resolution_and_maps_show_them_at_theirs(
    perception: Perception, resolution: Any, crop: bool
) -> None:
    full, other = seen(perception, crop=crop), seen(perception, crop=crop, resolution=resolution)
    assert len(full.objects) == 2
    for ours, theirs in zip(other.objects, full.objects, strict=True):
        assert (ours.instance.id, ours.instance.bbox) == (theirs.instance.id, theirs.instance.bbox)
        np.testing.assert_array_equal(ours.instance.contour, theirs.instance.contour)
        assert ours.location is not None
        assert theirs.location is not None
        np.testing.assert_array_equal(ours.location.position, theirs.location.position)
    shapes = {getattr(other.result, name).shape for name in MAPS}
    assert len(shapes) == 1
    (shape,) = shapes
    if isinstance(resolution, tuple):
        assert shape == resolution[::-1]
    else:
        # The tiny network sees 96 x 128.
        assert shape in {(72, 128), (96, 171)}
        assert shape[1] / shape[0] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    assert set(np.unique(other.result.unknown_instances)) == {0, 1, 2}
    expected = cv2.resize(full.result.unknown_instances, shape[::-1], interpolation=cv2.INTER_NEAREST)
    assert np.mean(other.result.unknown_instances == expected) > 0.98
    expected = cv2.resize(full.result.semantic, shape[::-1], interpolation=cv2.INTER_NEAREST)
    assert np.mean(other.result.semantic == expected) > 0.96


def test_maps_at_the_image_s_own_size_are_as_they_were(perception: Perception) -> None:
    full, same = seen(perception), seen(perception, resolution=(WIDTH, HEIGHT))
    for name in MAPS:
        np.testing.assert_array_equal(getattr(full.result, name), getattr(same.result, name))
    assert same.result.image_size is None


def test_an_overlay_of_small_maps_has_the_image_s_size_and_outlines(perception: Perception) -> None:
    small = seen(perception, resolution="network")
    image, result = shrink(small.frame.image, small.result, 0)
    assert result.open_set is not None
    assert image.shape[:2] == result.open_set.shape == (HEIGHT, WIDTH)
    assert [i.bbox for i in result.instances] == [i.bbox for i in small.result.instances]


def test_an_overlay_is_no_wider_than_the_maps_that_it_shows(perception: Perception) -> None:
    small = seen(perception, resolution="network")
    image, result = shrink(small.frame.image, small.result, 960)
    assert image.shape[:2] == small.result.open_set.shape
    np.testing.assert_array_equal(result.open_set, small.result.open_set)


def test_an_overlay_takes_the_image_that_the_network_saw_where_it_has_its_size(perception: Perception) -> None:
    result, stream = seen(perception, resolution="network"), CameraStream()
    for crop in (False, True):
        frame = Frame(scene(), 10**18, "optical", "front")
        prepared = stream.prepare(frame, Sensors(), perception.manifest.input_size, StreamConfig(crop=crop))
        small = stream.seen(prepared, stream.begin(prepared, ALL_OUTPUTS, perception), perception)
        if crop:
            assert small is None, "the network saw a part of the image"
        else:
            shown = shrink(result.frame.image, result.result, 960, small)[0]
            assert shown.base is small.base
            np.testing.assert_array_equal(shown, shrink(result.frame.image, result.result, 960)[0])
            assert shrink(result.frame.image, result.result, 0, small)[0].shape == (HEIGHT, WIDTH, 3)


def test_depth_is_read_alike_from_small_maps_and_from_large_ones(perception: Perception) -> None:
    # A depth of every row's own: one row more or less of an object is another reading.
    depth = np.repeat(np.linspace(40.0, 4.0, HEIGHT, dtype=np.float32)[:, None], WIDTH, 1)
    message = SimpleNamespace(
        height=HEIGHT, width=WIDTH, encoding="32FC1", step=4 * WIDTH, is_bigendian=0, data=depth.tobytes()
    )

    def positions(resolution: str, enlarge: bool) -> list[np.ndarray]:
        stream, config, sensors = CameraStream(), StreamConfig(resolution=resolution), Sensors(camera_info())
        for number in range(2):
            stamp = 10**18 + number * 10**8
            sensors.depth.put(stamp, message)
            frame = Frame(scene(), stamp, "optical", "front")
            prepared = stream.prepare(frame, sensors, perception.manifest.input_size, config)
            task = stream.begin(prepared, ALL_OUTPUTS, perception, enlarge)
            perception.run([task])
            result = stream.track(prepared, stream.finish(prepared, task, perception), perception)
        return [item.location.position for item in result.objects if item.location]

    offline = positions("image", enlarge=True)
    assert len(offline) == 2
    np.testing.assert_array_equal(positions("image", enlarge=False), offline)
    # Smaller than what the window at the road's far end adds to.
    np.testing.assert_allclose(positions("network", enlarge=True), offline, atol=0.2)


def test_no_depth_is_read_beside_a_rectified_image(perception: Perception) -> None:
    depth = np.full((HEIGHT, WIDTH), 7.0, np.float32)
    message = SimpleNamespace(
        height=HEIGHT, width=WIDTH, encoding="32FC1", step=4 * WIDTH, is_bigendian=0, data=depth.tobytes()
    )

    def distances(rectify: bool, depths: bool) -> list[float]:
        stream, sensors = CameraStream(), Sensors(camera_info())
        for number in range(2):
            stamp = 10**18 + number * 10**8
            if depths:
                sensors.depth.put(stamp, message)
            frame, config = Frame(scene(), stamp, "optical", "front"), StreamConfig(rectify=rectify)
            result = stream.process(frame, sensors, ALL_OUTPUTS, perception, config)
        return [item.location.distance for item in result.objects if item.location]

    assert distances(rectify=False, depths=True) != distances(rectify=False, depths=False)
    assert distances(rectify=True, depths=True) == distances(rectify=True, depths=False)
    assert len(distances(rectify=True, depths=True)) == 2


@pytest.mark.parametrize("wanted", [frozenset({Output.OPEN_SET}), ALL_OUTPUTS])
def test_maps_that_are_not_enlarged_hold_all_that_enlarging_takes(
    perception: Perception, wanted: frozenset[Output]
) -> None:
    def result(enlarge: bool) -> OpenSetResult:
        stream, frame = CameraStream(), Frame(scene(), 10**18, "optical", "front")
        prepared = stream.prepare(frame, Sensors(camera_info()), perception.manifest.input_size, StreamConfig())
        task = stream.begin(prepared, wanted, perception, enlarge)
        perception.run([task])
        return stream.finish(prepared, task, perception)

    small, large, manifest = result(enlarge=False), result(enlarge=True), perception.manifest
    enlargement = Enlargement((HEIGHT, WIDTH), manifest.thresholds.anomaly, manifest.labels.unknown_id)
    assert small.score is not None
    np.testing.assert_array_equal(enlargement.open_set(small, enlargement.scores(small.score)), large.open_set)
    for output in wanted - {Output.OPEN_SET}:
        assert getattr(small, output.value) is not None, output


@pytest.mark.parametrize("size", [(72, 128), (144, 256), (288, 512), (576, 1024)])
def test_a_scaled_calibration_projects_to_the_scaled_pixel(size: tuple[int, int]) -> None:
    info = camera_info()
    made = scaled_info(info, (HEIGHT, WIDTH), size)
    assert (made.height, made.width) == size
    point = np.array([1.0, 0.5, 7.0, 1.0])
    before, after = np.array(info.p).reshape(3, 4) @ point, np.array(made.p).reshape(3, 4) @ point
    factors = np.array([size[1] / WIDTH, size[0] / HEIGHT])
    np.testing.assert_allclose(after[:2] / after[2], before[:2] / before[2] * factors)
    before, after = (np.array(i.k).reshape(3, 3) @ point[:3] for i in (info, made))
    np.testing.assert_allclose(after[:2] / after[2], before[:2] / before[2] * factors)
    assert info.width == WIDTH, "the camera's own is left alone"


def test_binning_and_a_region_of_interest_are_scaled_with_the_sensor_s_k() -> None:
    info = camera_info(1024, 576)
    info.binning_x = info.binning_y = 2
    info.roi = SimpleNamespace(x_offset=256, y_offset=144, width=512, height=288, do_rectify=False)
    # The image: 512 x 288 of the sensor, every second pixel: 256 x 144. Wanted: half of that.
    made = scaled_info(info, (144, 256), (72, 128))
    assert (made.width, made.height) == (256, 144)
    assert (made.roi.x_offset, made.roi.y_offset, made.roi.width, made.roi.height) == (64, 36, 128, 72)
    assert made.k[0] == pytest.approx(400.0 / 4)
    assert made.binning_x == 0


def test_a_region_of_interest_that_the_driver_resized_gives_the_images_calibration() -> None:
    info = camera_info(1024, 576)
    info.roi = SimpleNamespace(x_offset=256, y_offset=144, width=512, height=288, do_rectify=False)
    made = scaled_info(info, (144, 256), (144, 256))
    own, wanted = (Intrinsics.from_camera_info(i).fitted((256, 144)) for i in (info, made))
    assert own is not None
    assert wanted is not None
    np.testing.assert_allclose(wanted.matrix, own.matrix, atol=0.5)


@pytest.mark.parametrize("change", [{"width": 0, "height": 0}, {"width": 640, "height": 480}, {"height": 0}])
def test_a_calibration_of_other_images_is_not_scaled(change: dict[str, int]) -> None:
    info = camera_info()
    vars(info).update(change)
    with pytest.raises(DataError, match="no camera_info is published"):
        scaled_info(info, (HEIGHT, WIDTH), (72, 128))


def test_an_object_s_window_holds_all_of_it_in_maps_finer_than_the_image() -> None:
    ids = np.zeros((320, 427), np.uint16)
    cv2.circle(ids, (200, 150), 4, 1, -1)
    numbers = Geometry((120, 160), ids.shape, (320 / 120, 427 / 160)).undo_labels(ids)
    rows, cols = np.nonzero(numbers)
    box = (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
    instance = UnknownInstance(1, 1.0, len(rows), box, np.zeros((1, 2), np.int32), (0.0, 0.0))
    window = OpenSetResult(image_size=(120, 160)).window(instance, ids)
    assert np.count_nonzero(ids[window]) == np.count_nonzero(ids)


def test_results_refer_to_the_image(perception: Perception, tmp_path: Path) -> None:
    result = seen(perception, resolution="network").result
    assert result.image_size == (HEIGHT, WIDTH)
    for instance in result.instances:
        assert result.unknown_instances is not None
        window = result.window(instance, result.unknown_instances)
        inside = result.unknown_instances[window] == instance.id
        assert inside.sum() == (result.unknown_instances == instance.id).sum()
