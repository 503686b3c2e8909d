"""One node process, one player process, this process as the listener."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, String
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.overlay import draw_overlay
from m2a_core.perception import Perception
from m2a_core.types import OpenSetResult
from m2a_ros.label_info import LabelInfo
from test.ros.harness import Listener, NodeProcess, Player
from test.ros.messages import FRAME_ID, camera_info, compressed, frame, header, image, scene
from test.tiny_bundle import write_tiny_bundle

OUT = "/m2a/output/front"
DEBUG = "/m2a/debug/front"
IN = "/m2a/input/front/image"
CAMERA = "m2a: camera front"
REAR_MASK = "/m2a/output/rear/open_set_mask"
RED_BOX = (56, 64, 72, 80)


class Bench:
    """Everything a test needs, with stamps that never repeat."""

    def __init__(self, domain: int, folder: Path, model: Path) -> None:
        self.node = NodeProcess(
            domain, folder,
            {
                "model": str(model), "threads": 1, "diagnostics": {"period": 0.2},
                "extrinsics": "parameters", "mounting": {"front": {"height": 1.5, "pitch": 0.1}},
                "base_frame": "ground",
            },
        )  # fmt: skip
        self.player = Player(domain, folder)
        self.listener = Listener(domain)
        self.perception = Perception.load(str(model), threads=1)
        self._stamp = 1000

    def stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def answer(self, topic: str, message: Any, to: str = IN, tries: int = 20) -> Any:
        """Send a message until ``topic`` answers with its stamp: the first ones can miss a reader being discovered."""
        self.listener.wait_for_outputs(topic)
        for _ in range(tries):
            self.player.play(to, [message])
            found = self.listener.spin_until(lambda: self._with_stamp(topic, message.header.stamp), timeout=2.0)
            if found:
                return found
        raise AssertionError(f"{topic} never answered {message.header}; node log:\n{self.node.log}")

    def _with_stamp(self, topic: str, stamp: Any) -> Any:
        return next((m for m in self.listener.received[topic] if m.header.stamp == stamp), None)

    def expected(self, rgb: np.ndarray) -> OpenSetResult:
        return self.perception.infer(frame(rgb))

    def close(self) -> int:
        self.player.close()
        self.listener.close()
        return self.node.stop()


@pytest.fixture(scope="module")
def bench(domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Bench]:
    made = Bench(domain, tmp_path_factory.mktemp("bench"), tiny)
    try:
        made.listener.wait_for_status("m2a: node", lambda status: status["state"] == "active")
        yield made
    finally:
        made.close()


@pytest.fixture
def listening(bench: Bench, request: pytest.FixtureRequest) -> Iterator[str]:
    """Listen to a topic during one test."""
    topic, kind = request.param
    bench.listener.listen(topic, kind)
    yield topic
    bench.listener.forget(topic)


def pixels(message: Image) -> np.ndarray:
    dtype = {"32FC1": np.float32, "mono8": np.uint8, "16UC1": np.uint16}[message.encoding]
    assert message.step == message.width * np.dtype(dtype).itemsize
    return np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width)


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


@pytest.mark.parametrize("listening", [(f"{DEBUG}/pipeline_latency_ms", Float64)], indirect=True)
def test_latency_is_counted_from_the_camera_stamp(bench: Bench, listening: str) -> None:
    bench.listener.listen(f"{OUT}/open_set_mask", Image)
    message = image(scene(None), bench.stamp())
    bench.answer(f"{OUT}/open_set_mask", message)
    value = bench.listener.spin_until(lambda: bench.listener.received[listening])[-1].data
    bench.listener.forget(f"{OUT}/open_set_mask")
    now_ms = bench.listener.node.get_clock().now().nanoseconds / 1e6
    assert value == pytest.approx(now_ms - 1e3 * message.header.stamp.sec, abs=120e3)


def test_label_info_is_latched_and_names_the_unknown(bench: Bench) -> None:
    topic = f"{OUT}/label_info"
    bench.listener.listen(topic, LabelInfo or String, latched=True)
    message = bench.listener.spin_until(lambda: bench.listener.received[topic])[0]
    bench.listener.forget(topic)
    if LabelInfo is None:
        content = json.loads(message.data)
        names = {entry["class_id"]: entry["class_name"] for entry in content["class_map"]}
        threshold = content["threshold"]
    else:
        names = {entry.class_id: entry.class_name for entry in message.class_map}
        threshold = message.threshold
    labels = bench.perception.labels
    assert names == {**dict(enumerate(labels.names)), labels.unknown_id: "unknown"}
    assert threshold == pytest.approx(bench.perception.manifest.thresholds.anomaly)


def bad_image(kind: str, stamp: int) -> Image | CompressedImage:
    message = image(scene(RED_BOX), stamp)
    if kind == "unknown encoding":
        message.encoding = "rgb9"
    elif kind == "step too small":
        message.step -= 3
    elif kind == "data too short":
        message.data = message.data[:-1]
    elif kind == "data too long":
        message.data = [*message.data, 0]
    elif kind == "zero size":
        message.height, message.width, message.step, message.data = 0, 0, 0, []
    else:
        message.encoding = "8UC3"
    return message


@pytest.mark.parametrize("listening", [(f"{OUT}/open_set_mask", Image)], indirect=True)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unknown encoding", "unknown_encoding"),
        ("step too small", "size_mismatch"),
        ("data too short", "size_mismatch"),
        ("data too long", "size_mismatch"),
        ("zero size", "empty"),
        ("channels without colour", "unconvertible"),
    ],
)
def test_bad_image_is_counted_and_not_answered(bench: Bench, listening: str, kind: str, reason: str) -> None:
    key = f"dropped.bad_image.{reason}"
    bench.answer(listening, image(scene(None), bench.stamp()))
    before = int(bench.listener.status(CAMERA).get(key, 0))
    bad = bad_image(kind, bench.stamp())

    def play_and_see(status: dict[str, str]) -> bool:
        bench.player.play(IN, [bad])
        return int(status.get(key, 0)) > before and status["level"] == "1"

    status = bench.listener.wait_for_status(CAMERA, play_and_see)
    assert "bad frames" in status["message"]
    bench.answer(listening, image(scene(None), bench.stamp()))
    assert bad.header.stamp not in [message.header.stamp for message in bench.listener.received[listening]]
    assert bench.node.process.poll() is None


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
@pytest.mark.parametrize(
    ("stamps", "reason"),
    [([0], "zero"), ([2_000_000_000], "in_future"), ([2, 1], "jumped_back")],
    ids=["zero", "future", "back"],
)
def test_odd_stamps_are_counted_warned_of_and_answered(
    bench: Bench, listening: str, stamps: list[int], reason: str
) -> None:
    key = f"stamps.{reason}"
    before = int(bench.listener.status(CAMERA).get(key, 0))

    def play_and_see(status: dict[str, str]) -> bool:
        for stamp in stamps:
            message = image(scene(None), stamp)
            if stamp == 0:
                message.header.stamp.nanosec = 0
            bench.answer(listening, message)
        return int(status.get(key, 0)) > before and reason in status["message"]

    bench.listener.wait_for_status(CAMERA, play_and_see)
    assert bench.node.process.poll() is None


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
@pytest.mark.parametrize("scale", [1, 2], ids=["calibrated in this size", "calibrated in twice the size"])
def test_markers_stand_on_the_ground_and_are_deleted_when_gone(bench: Bench, listening: str, scale: int) -> None:
    info = camera_info(scale * 128, scale * 96, focal=scale * 100.0)
    # The image's centre (64, 48) as the larger image counts its pixels.
    info.k[2], info.k[5] = scale * 64.5 - 0.5, scale * 48.5 - 0.5

    def markers_of(rgb: np.ndarray, action: int) -> list[Marker]:
        bench.player.play("/m2a/input/front/camera_info", [info])
        bench.player.play(IN, [image(rgb, bench.stamp())])
        arrays = bench.listener.received[listening]
        return [m for m in (arrays[-1].markers if arrays else []) if m.action == action]

    bench.listener.wait_for_outputs(listening)
    shown = bench.listener.spin_until(lambda: markers_of(scene(RED_BOX), Marker.ADD))
    by_kind = {marker.ns: marker for marker in shown}
    assert sorted(by_kind) == ["front/footprint", "front/label", "front/outline"]
    contact_x, contact_y = bench.expected(scene(RED_BOX)).instances[0].contact
    outline = by_kind["front/outline"]
    # By hand: the ray leaves at pitch + atan(v) below the horizon, from 1.5 m.
    down = 0.1 + np.arctan((contact_y - 48) / 100)
    distance = 1.5 / np.tan(down)
    assert outline.header.frame_id == "ground"
    assert outline.pose.position.z == 0
    assert outline.pose.position.x == pytest.approx(distance, rel=1e-6)
    slant = np.hypot(1.5, distance) * np.cos(down - 0.1)
    assert outline.pose.position.y == pytest.approx(-slant * (contact_x - 64) / 100, abs=1e-6)
    assert by_kind["front/label"].text.startswith(f"unknown {outline.id}  ")

    gone = bench.listener.spin_until(lambda: markers_of(scene(None), Marker.DELETE))
    assert {(m.ns, m.id) for m in gone} == {(m.ns, m.id) for m in shown}


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (CameraInfo(width=128, height=96), "bad_camera_info"),
        (camera_info(128, 72, focal=100.0), "camera_info_of_other_aspect"),
    ],
    ids=["uncalibrated", "cropped"],
)
def test_calibration_that_says_nothing_gives_no_markers_and_a_warning(
    bench: Bench, listening: str, info: CameraInfo, reason: str
) -> None:
    key = f"without_markers.{reason}"

    def play_and_see(status: dict[str, str]) -> bool:
        bench.player.play("/m2a/input/front/camera_info", [info])
        bench.player.play(IN, [image(scene(RED_BOX), bench.stamp())])
        return int(status.get(key, 0)) > 0 and "camera_info" in status["message"]

    status = bench.listener.wait_for_status(CAMERA, play_and_see)
    assert status["level"] == "1"
    last = bench.listener.received[listening][-1]
    assert [m for m in last.markers if m.action == Marker.ADD] == []


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
def test_an_object_keeps_its_number_until_stamps_jump_back(bench: Bench, listening: str) -> None:
    bench.listener.wait_for_outputs(listening)
    shown: list[tuple[int, int]] = []

    def shown_at(stamp: int, x: int) -> bool:
        """Send one frame with the object at x; keep the number and x-position that its marker has."""
        bench.player.play("/m2a/input/front/camera_info", [camera_info(128, 96, focal=100.0)])
        message = image(scene((x, 64, x + 16, 80)), stamp)
        bench.player.play(IN, [message])
        arrays = bench.listener.received[listening]

        def labels() -> list[Marker]:
            found = [m for array in arrays for m in array.markers if m.header.stamp == message.header.stamp]
            return [m for m in found if m.ns == "front/label" and m.action == Marker.ADD]

        if bench.listener.spin_until(labels, timeout=2.0):
            shown.append((labels()[0].id, x))
        return len({x for _, x in shown}) >= 3

    there_and_back = [*range(40, 72, 4), *range(72, 40, -4)]
    positions = iter(there_and_back * 10)
    assert bench.listener.spin_until(lambda: shown_at(bench.stamp(), next(positions)))
    numbers = {number for number, _ in shown}
    assert len(numbers) == 1
    shown.clear()
    back = iter(range(10, 1000))
    assert bench.listener.spin_until(lambda: shown_at(next(back), next(positions)))
    assert {number for number, _ in shown}.isdisjoint(numbers)
    deleted = [m.id for array in bench.listener.received[listening] for m in array.markers if m.action == Marker.DELETE]
    assert numbers <= set(deleted)


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


@pytest.fixture(scope="module")
def compressed_camera(
    domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path
) -> Iterator[tuple[NodeProcess, Player, Listener]]:
    """A second node, of a camera that only sends compressed images."""
    folder = tmp_path_factory.mktemp("compressed")
    node = NodeProcess(domain, folder, {"model": str(tiny), "cameras": ["rear"], "diagnostics": {"period": 0.2}})
    player, listener = Player(domain, folder), Listener(domain)
    listener.listen(REAR_MASK, Image)
    listener.wait_for_outputs(REAR_MASK)
    yield node, player, listener
    player.close()
    listener.close()
    node.stop()


def answer_of_rear(player: Player, listener: Listener, message: CompressedImage) -> Image:
    """Send until the answer comes: the node looks for the topic's publisher every half second."""

    def play_and_look() -> Image | None:
        player.play("/m2a/input/rear/image/compressed", [message], pause=0.1)
        return next((m for m in listener.received[REAR_MASK] if m.header.stamp == message.header.stamp), None)

    answer = listener.spin_until(play_and_look)
    assert answer
    return answer


def test_png_is_decoded_exactly(compressed_camera: tuple[NodeProcess, Player, Listener], tiny: Path) -> None:
    _, player, listener = compressed_camera
    rgb = scene(RED_BOX)
    answer = answer_of_rear(player, listener, compressed(rgb, 7, ".png"))
    assert answer.header.frame_id == FRAME_ID
    np.testing.assert_array_equal(pixels(answer), Perception.load(str(tiny)).infer(frame(rgb)).open_set)


def test_truncated_jpeg_is_counted_and_not_answered(
    compressed_camera: tuple[NodeProcess, Player, Listener],
) -> None:
    node, player, listener = compressed_camera
    answer_of_rear(player, listener, compressed(scene(RED_BOX), 8, ".jpg"))
    cut = compressed(scene(RED_BOX), 9, ".jpg")
    cut.data = cut.data[: len(cut.data) // 2]

    def play_and_see(status: dict[str, str]) -> bool:
        player.play("/m2a/input/rear/image/compressed", [cut], pause=0.1)
        return int(status.get("dropped.bad_image.undecodable", 0)) > 0

    listener.wait_for_status("m2a: camera rear", play_and_see)
    answer_of_rear(player, listener, compressed(scene(RED_BOX), 10, ".jpg"))
    assert cut.header.stamp not in [message.header.stamp for message in listener.received[REAR_MASK]]
    assert node.process.poll() is None


def accounted(status: dict[str, str]) -> int:
    return int(status["published"]) + sum(int(n) for key, n in status.items() if key.startswith("dropped."))


@pytest.mark.slow
def test_slow_network_takes_the_latest_frame_and_counts_the_rest(domain: int, tmp_path: Path) -> None:
    model = write_tiny_bundle(tmp_path / "slow", input_size=(768, 1024))
    parameters = {"model": str(model), "threads": 1, "cameras": ["fast"], "diagnostics": {"period": 0.2}}
    node = NodeProcess(domain, tmp_path, parameters)
    player, listener = Player(domain, tmp_path), Listener(domain)
    mask, camera = "/m2a/output/fast/open_set_mask", "m2a: camera fast"
    try:
        listener.listen(mask, Image)
        listener.wait_for_outputs(mask)
        listener.wait_for_status(camera, lambda status: True)
        frames = [image(scene(None), stamp) for stamp in range(1, 41)]
        player.play("/m2a/input/fast/image", frames, pause=0.01)
        last = frames[-1].header.stamp
        assert listener.spin_until(lambda: any(m.header.stamp == last for m in listener.received[mask]))
        status = listener.wait_for_status(camera, lambda status: int(status["received"]) == accounted(status))
        answered = [message.header.stamp.sec for message in listener.received[mask]]
        assert answered == sorted(set(answered))
        assert int(status["published"]) == len(answered)
        assert int(status["dropped.replaced_by_newer"]) > 0
    finally:
        player.close()
        listener.close()
        node.stop()
