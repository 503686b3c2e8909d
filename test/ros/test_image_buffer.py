from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.overlay import shrink
from m2a_core.types import OpenSetResult, UnknownInstance
from m2a_ros.images.conversions import JPEG_FORMAT
from m2a_ros.images.image_buffer import ImageBuffer, JpegBuffer
from test.ros.messages import header, scene


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels"),
    [("mono8", np.uint8, ()), ("16UC1", np.uint16, ()), ("32FC1", np.float32, ()), ("rgb8", np.uint8, (3,))],
)
def test_what_is_written_is_what_is_sent_frame_after_frame(
    encoding: str, dtype: type, channels: tuple[int, ...]
) -> None:
    buffer = ImageBuffer(encoding)
    sizes, frame_ids = [(4, 6), (4, 6), (5, 3), (4, 6), (4, 6)], ["camera", "camera", "camera", "camera", "b"]
    for stamp, (size, frame_id) in enumerate(zip(sizes, frame_ids, strict=True)):
        head = header(stamp)
        head.frame_id = frame_id
        pixels = np.random.default_rng(stamp).integers(0, 200, (*size, *channels)).astype(dtype)
        out = buffer.begin(head, size)
        assert out.dtype == dtype
        np.copyto(out, pixels)
        sent = deserialize_message(buffer.serialized.tobytes(), Image)
        assert (sent.height, sent.width) == size
        assert (sent.encoding, sent.header) == (encoding, head)
        assert sent.step * sent.height == len(sent.data) == pixels.nbytes
        assert bytes(sent.data) == pixels.tobytes()
        assert len(buffer.serialized) == len(serialize_message(sent))


def test_memory_is_kept_while_the_size_stays() -> None:
    buffer = ImageBuffer("mono8")
    first = buffer.begin(header(1), (4, 6))
    assert buffer.begin(header(2), (4, 6)) is first
    assert np.shares_memory(first, buffer.serialized)


def test_jpegs_are_what_is_sent_frame_after_frame() -> None:
    buffer = JpegBuffer()
    for stamp, (length, frame_id) in enumerate([(5, "camera"), (90, "camera"), (17, "b"), (1, "a longer name")]):
        head = header(stamp)
        head.frame_id = frame_id
        jpeg = np.random.default_rng(stamp).integers(0, 256, length).astype(np.uint8)
        sent = deserialize_message(buffer.filled(head, jpeg).tobytes(), CompressedImage)
        assert (sent.header, sent.format, bytes(sent.data)) == (head, JPEG_FORMAT, jpeg.tobytes())


def result_of(ids: np.ndarray) -> OpenSetResult:
    contour = np.array([[40, 60], [79, 60], [79, 99], [40, 99]], np.int32)
    instance = UnknownInstance(1, 0.9, 1600, (40, 60, 80, 100), contour, (60.0, 100.0))
    return OpenSetResult(anomaly=np.zeros(ids.shape, np.float32), open_set=ids, instances=(instance,))


def test_an_image_that_is_not_wider_is_not_shrunk() -> None:
    image, result = scene(None), result_of(np.zeros((96, 128), np.uint8))
    for width in (0, 128, 500):
        same = shrink(image, result, width)
        assert same[0] is image
        assert same[1] is result


def test_shrunk_overlays_keep_ids_and_places() -> None:
    image = scene((40, 60, 80, 100), (192, 256))
    ids = np.where((image == (255, 0, 0)).all(axis=2), 11, 3).astype(np.uint8)
    small, result = shrink(image, result_of(ids), 128)
    assert small.shape == (96, 128, 3)
    assert result.open_set is not None
    assert set(np.unique(result.open_set)) == {3, 11}
    rows, columns = np.nonzero(result.open_set == 11)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 30, 40, 50)
    assert result.instances[0].bbox == (20, 30, 40, 50)
    assert result.instances[0].contour.max(axis=0).tolist() == [39, 49]


def test_an_object_of_one_pixel_keeps_a_box() -> None:
    result = result_of(np.zeros((96, 128), np.uint8))
    tiny = UnknownInstance(1, 0.9, 1, (5, 5, 6, 6), np.array([[5, 5]], np.int32), (5.5, 6.0))
    _, small = shrink(scene(None), OpenSetResult(open_set=result.open_set, instances=(tiny,)), 16)
    x0, y0, x1, y1 = small.instances[0].bbox
    assert x1 > x0
    assert y1 > y0
