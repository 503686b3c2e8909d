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
from test.ros.bench import CAMERA, DEBUG, IN, OUT, RED_BOX, Bench, pixels
from test.ros.harness import PATIENCE_S, Listener, NodeProcess
from test.ros.messages import header, image, scene


def test_nobody_listening_means_no_inference(bench: Bench) -> None:
    rgb = scene(RED_BOX)

    def play_and_count(status: dict[str, str]) -> bool:
        bench.player.play(IN, [image(rgb, bench.stamp())])
        return int(status.get("dropped.no_subscriber", 0)) >= 3

    status = bench.listener.wait_for_status(CAMERA, play_and_count)
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
def test_maps_are_exact_and_keep_stamp_and_frame_id(bench: Bench, listening: str, encoding: str, field: str) -> None:
    rgb = scene(RED_BOX)
    stamp = bench.stamp()
    message = bench.answer(listening, image(rgb, stamp))
    assert message.encoding == encoding
    assert message.header == header(stamp)
    want = getattr(bench.expected(rgb), field)
    got = pixels(message)
    np.testing.assert_array_equal(got, np.clip(want, 0, 1) if field == "anomaly" else want)
    centre, road = got[72, 64], got[90, 10]
    assert centre != road


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_bgr_and_odd_sizes_are_read_right(bench: Bench, listening: str) -> None:
    rgb = scene(RED_BOX, size=(97, 133))
    message = bench.answer(listening, image(rgb, bench.stamp(), "bgr8"))
    assert (message.height, message.width) == (97, 133)
    np.testing.assert_array_equal(pixels(message), bench.expected(rgb).open_set)


@pytest.mark.parametrize("listening", [(f"{DEBUG}/overlay", Image)], indirect=True)
def test_overlay_shows_the_result(bench: Bench, listening: str) -> None:
    rgb = scene(RED_BOX)
    message = bench.answer(listening, image(rgb, bench.stamp()))
    want = draw_overlay(rgb, bench.expected(rgb), bench.perception.labels)
    assert message.encoding == "rgb8"
    np.testing.assert_array_equal(np.frombuffer(bytes(message.data), np.uint8).reshape(96, 128, 3), want)


@pytest.mark.parametrize("listening", [(f"{DEBUG}/overlay/compressed", CompressedImage)], indirect=True)
def test_compressed_overlay_is_a_jpeg_of_it(bench: Bench, listening: str) -> None:
    rgb = scene(RED_BOX)
    stamp = bench.stamp()
    message = bench.answer(listening, image(rgb, stamp))
    assert message.header == header(stamp)
    decoded = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    want = draw_overlay(rgb, bench.expected(rgb), bench.perception.labels)
    assert np.abs(decoded.astype(int) - want).mean() < 6


@pytest.mark.parametrize("listening", [(f"{DEBUG}/anomaly_color", Image)], indirect=True)
def test_anomaly_map_comes_in_colours_for_viewers_that_have_none(bench: Bench, listening: str) -> None:
    rgb = scene(RED_BOX)
    message = bench.answer(listening, image(rgb, bench.stamp()))
    assert message.encoding == "rgb8"
    anomaly = bench.expected(rgb).anomaly
    assert anomaly is not None
    colors = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    np.testing.assert_array_equal(colors, draw_scores(anomaly))


@pytest.mark.parametrize("listening", [(f"{DEBUG}/pipeline_latency_ms", Float64)], indirect=True)
def test_latency_is_counted_from_the_camera_stamp_and_withheld_for_one_of_another_clock(
    bench: Bench, listening: str
) -> None:
    listener = bench.listener
    listener.listen(f"{OUT}/open_set_mask", Image)
    # Seconds since the camera was switched on, as many drivers stamp.
    bench.answer(f"{OUT}/open_set_mask", image(scene(None), bench.stamp()))
    warned = listener.wait_for_status(CAMERA, lambda status: "too_old" in status["message"])
    assert warned["level"] == "1"
    assert "pipeline_latency_ms" not in warned
    assert listener.received[listening] == []
    message = image(scene(None), int(time.time()))
    bench.answer(f"{OUT}/open_set_mask", message)
    value = listener.spin_until(lambda: listener.received[listening])[-1].data
    listener.forget(f"{OUT}/open_set_mask")
    now_ms = listener.node.get_clock().now().nanoseconds / 1e6
    assert value == pytest.approx(now_ms - 1e3 * message.header.stamp.sec, abs=60e3)
    assert value < 60e3


def test_label_info_is_latched_and_names_the_unknown(bench: Bench) -> None:
    topic = f"{OUT}/label_info"
    bench.listener.listen(topic, LABEL_INFO, latched=True)
    message = bench.listener.spin_until(lambda: bench.listener.received[topic])[0]
    bench.listener.forget(topic)
    if LABEL_INFO is String:
        content = json.loads(message.data)
        names = {entry["class_id"]: entry["class_name"] for entry in content["class_map"]}
        threshold = content["threshold"]
    else:
        names = {entry.class_id: entry.class_name for entry in message.class_map}
        threshold = message.threshold
    labels = bench.perception.labels
    assert names == {**dict(enumerate(labels.names)), labels.unknown_id: "unknown"}
    assert threshold == pytest.approx(bench.perception.manifest.thresholds.anomaly)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_resolution_may_change_from_frame_to_frame(bench: Bench, listening: str) -> None:
    for size in [(96, 128), (192, 256), (50, 200), (96, 128)]:
        rgb = scene((size[1] // 2, size[0] // 2, size[1] // 2 + 16, size[0] // 2 + 16), size)
        message = bench.answer(listening, image(rgb, bench.stamp()))
        np.testing.assert_array_equal(pixels(message), bench.expected(rgb).open_set)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
@pytest.mark.parametrize("encoding", ["yuyv", "uyvy", "nv12", "nv21", "bayer_rggb8", "bgra8", "mono8"])
def test_encodings_of_the_field_are_answered(bench: Bench, listening: str, encoding: str) -> None:
    # Black in each of them; what colours become is tested with the conversions.
    shape = {"yuyv": (96, 256), "uyvy": (96, 256), "nv12": (144, 128), "nv21": (144, 128), "bgra8": (96, 512)}
    rows, step = shape.get(encoding, (96, 128))
    data = np.zeros((rows, step), np.uint8)
    if encoding in ("yuyv", "uyvy"):
        luma = 0 if encoding == "yuyv" else 1
        data[:, luma::2], data[:, 1 - luma :: 2] = 16, 128
    elif encoding in ("nv12", "nv21"):
        data[:96], data[96:] = 16, 128
    message = image(scene(None), bench.stamp())
    message.encoding, message.step, message.data = encoding, step, data.tobytes()
    answer = bench.answer(listening, message)
    black = np.zeros((96, 128, 3), np.uint8)
    np.testing.assert_array_equal(pixels(answer), bench.expected(black).open_set)


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
def test_no_torch_in_the_process_that_infers(bench: Bench, listening: str) -> None:
    bench.answer(listening, image(scene(None), bench.stamp()))
    loaded = Path(f"/proc/{bench.node.process.pid}/maps").read_text()
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
