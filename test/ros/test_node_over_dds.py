"""What a real node answers over DDS, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64, String

from m2a_core.overlay import draw_overlay, draw_scores
from m2a_ros.outputs.label_info import LABEL_INFO
from test.ros.dds_node import CAMERA, DEBUG, IN, OUT, RED_BOX, DdsNode, pixels
from test.ros.harness import PATIENCE_S, Listener, NodeProcess
from test.ros.messages import header, image, scene


def test_nobody_listening_means_no_inference(dds_node: DdsNode) -> None:
    rgb = scene(RED_BOX)

    def play_and_count(status: dict[str, str]) -> bool:
        dds_node.player.play(IN, [image(rgb, dds_node.stamp())])
        return int(status.get("dropped.no_subscriber", 0)) >= 3

    status = dds_node.listener.wait_for_status(CAMERA, play_and_count)
    assert status["published"] == "0"
    assert "network_ms" not in status


@pytest.mark.parametrize(
    ("listening", "encoding", "field"),
    [
        ((f"{OUT}/anomaly_map", Image), "32FC1", "anomaly"),
        ((f"{OUT}/open_set_mask", Image), "mono8", "open_set"),
        ((f"{OUT}/panoptic", Image), "16UC1", "panoptic"),
        ((f"{OUT}/unknown_instances", Image), "16UC1", "unknown_instances"),
    ],
    indirect=["listening"],
)
def test_maps_are_exact_and_keep_stamp_and_frame_id(
    dds_node: DdsNode, listening: str, encoding: str, field: str
) -> None:
    rgb = scene(RED_BOX)
    stamp = dds_node.stamp()
    message = dds_node.answer(listening, image(rgb, stamp))
    assert message.encoding == encoding
    assert message.header == header(stamp)
    want = getattr(dds_node.expected(rgb), field)
    got = pixels(message)
    np.testing.assert_array_equal(got, np.clip(want, 0, 1) if field == "anomaly" else want)
    centre, road = got[72, 64], got[90, 10]
    assert centre != road


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_bgr_and_odd_sizes_are_read_right(dds_node: DdsNode, listening: str) -> None:
    rgb = scene(RED_BOX, size=(97, 133))
    message = dds_node.answer(listening, image(rgb, dds_node.stamp(), "bgr8"))
    assert (message.height, message.width) == (97, 133)
    np.testing.assert_array_equal(pixels(message), dds_node.expected(rgb).open_set)


@pytest.mark.parametrize("listening", [(f"{DEBUG}/overlay", Image)], indirect=True)
def test_overlay_shows_the_result(dds_node: DdsNode, listening: str) -> None:
    rgb = scene(RED_BOX)
    message = dds_node.answer(listening, image(rgb, dds_node.stamp()))
    want = draw_overlay(rgb, dds_node.expected(rgb), dds_node.perception.labels)
    assert message.encoding == "rgb8"
    np.testing.assert_array_equal(np.frombuffer(bytes(message.data), np.uint8).reshape(96, 128, 3), want)


@pytest.mark.parametrize("listening", [(f"{DEBUG}/overlay/compressed", CompressedImage)], indirect=True)
def test_compressed_overlay_is_a_jpeg_of_it(dds_node: DdsNode, listening: str) -> None:
    rgb = scene(RED_BOX)
    stamp = dds_node.stamp()
    message = dds_node.answer(listening, image(rgb, stamp))
    assert message.header == header(stamp)
    decoded = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    want = draw_overlay(rgb, dds_node.expected(rgb), dds_node.perception.labels)
    assert np.abs(decoded.astype(int) - want).mean() < 6


@pytest.mark.parametrize("listening", [(f"{DEBUG}/anomaly_color", Image)], indirect=True)
def test_anomaly_map_comes_in_colours_for_viewers_that_have_none(dds_node: DdsNode, listening: str) -> None:
    rgb = scene(RED_BOX)
    message = dds_node.answer(listening, image(rgb, dds_node.stamp()))
    assert message.encoding == "rgb8"
    anomaly = dds_node.expected(rgb).anomaly
    assert anomaly is not None
    colors = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    np.testing.assert_array_equal(colors, draw_scores(anomaly))


@pytest.mark.parametrize("listening", [(f"{DEBUG}/pipeline_latency_ms", Float64)], indirect=True)
def test_latency_is_counted_from_the_camera_stamp_and_withheld_for_one_of_another_clock(
    dds_node: DdsNode, listening: str
) -> None:
    listener = dds_node.listener
    listener.listen(f"{OUT}/open_set_mask", Image)
    # Seconds since the camera was switched on, as many drivers stamp.
    dds_node.answer(f"{OUT}/open_set_mask", image(scene(None), dds_node.stamp()))
    warned = listener.wait_for_status(CAMERA, lambda status: "too_old" in status["message"])
    assert warned["level"] == "1"
    assert "pipeline_latency_ms" not in warned
    assert listener.received[listening] == []
    message = image(scene(None), int(time.time()))
    dds_node.answer(f"{OUT}/open_set_mask", message)
    value = listener.spin_until(lambda: listener.received[listening])[-1].data
    listener.forget(f"{OUT}/open_set_mask")
    now_ms = listener.node.get_clock().now().nanoseconds / 1e6
    assert value == pytest.approx(now_ms - 1e3 * message.header.stamp.sec, abs=60e3)
    assert value < 60e3


def test_label_info_is_latched_and_names_the_unknown(dds_node: DdsNode) -> None:
    topic = f"{OUT}/label_info"
    dds_node.listener.listen(topic, LABEL_INFO, latched=True)
    message = dds_node.listener.spin_until(lambda: dds_node.listener.received[topic])[0]
    dds_node.listener.forget(topic)
    if LABEL_INFO is String:
        content = json.loads(message.data)
        names = {entry["class_id"]: entry["class_name"] for entry in content["class_map"]}
        threshold = content["threshold"]
    else:
        names = {entry.class_id: entry.class_name for entry in message.class_map}
        threshold = message.threshold
    labels = dds_node.perception.labels
    assert names == {**dict(enumerate(labels.names)), labels.unknown_id: "unknown"}
    assert threshold == pytest.approx(dds_node.perception.manifest.thresholds.anomaly)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_resolution_may_change_from_frame_to_frame(dds_node: DdsNode, listening: str) -> None:
    for size in [(96, 128), (192, 256), (50, 200), (96, 128)]:
        rgb = scene((size[1] // 2, size[0] // 2, size[1] // 2 + 16, size[0] // 2 + 16), size)
        message = dds_node.answer(listening, image(rgb, dds_node.stamp()))
        np.testing.assert_array_equal(pixels(message), dds_node.expected(rgb).open_set)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
@pytest.mark.parametrize("encoding", ["yuyv", "uyvy", "nv12", "nv21", "bayer_rggb8", "bgra8", "mono8"])
def test_encodings_of_the_field_are_answered(dds_node: DdsNode, listening: str, encoding: str) -> None:
    # Black in each of them; what colours become is tested with the conversions.
    shape = {"yuyv": (96, 256), "uyvy": (96, 256), "nv12": (144, 128), "nv21": (144, 128), "bgra8": (96, 512)}
    rows, step = shape.get(encoding, (96, 128))
    data = np.zeros((rows, step), np.uint8)
    if encoding in ("yuyv", "uyvy"):
        luma = 0 if encoding == "yuyv" else 1
        data[:, luma::2], data[:, 1 - luma :: 2] = 16, 128
    elif encoding in ("nv12", "nv21"):
        data[:96], data[96:] = 16, 128
    message = image(scene(None), dds_node.stamp())
    message.encoding, message.step, message.data = encoding, step, data.tobytes()
    answer = dds_node.answer(listening, message)
    black = np.zeros((96, 128, 3), np.uint8)
    np.testing.assert_array_equal(pixels(answer), dds_node.expected(black).open_set)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_no_torch_in_the_process_that_infers(dds_node: DdsNode, listening: str) -> None:
    dds_node.answer(listening, image(scene(None), dds_node.stamp()))
    loaded = Path(f"/proc/{dds_node.node.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_working_node_with_code_0(domain: int, tmp_path: Path, tiny: Path, how: signal.Signals) -> None:
    node = NodeProcess(domain, tmp_path, {"model": str(tiny), "cameras": ["side"]})
    listener = Listener(domain)
    try:
        listener.listen("/m2a/output/side/open_set_mask", Image)
        seen = listener.spin_until(lambda: listener.status("m2a: camera side"))
        assert seen, node.log
        assert node.stop(how) == 0
        assert "Traceback" not in node.log
    finally:
        listener.close()
        node.stop(signal.SIGKILL)


def test_signals_after_the_first_do_not_disturb_the_end(domain: int, tmp_path: Path, tiny: Path) -> None:
    node = NodeProcess(domain, tmp_path, {"model": str(tiny), "threads": 1})
    try:
        while "active: reading" not in node.log:
            assert node.process.poll() is None, node.log
            time.sleep(0.05)
        for how in 40 * [signal.SIGINT, signal.SIGINT, signal.SIGTERM]:
            node.process.send_signal(how)
            time.sleep(0.01)
        assert node.process.wait(PATIENCE_S) == 0, node.log
        assert "Traceback" not in node.log
    finally:
        node.stop(signal.SIGKILL)
