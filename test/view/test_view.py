"""The viewer, headless: into a Rerun recording, which is then read back. The node's side is a bag of real messages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from m2a_ros.main import main
from m2a_ros.view.topics import COMPRESSED, IMAGE, MARKERS, ShownTopic, shown_topic

# Not imported here: every process of a run collects every test.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("rerun") is None, reason="needs the extra 'view'")
STORE = get_typestore(Stores.ROS2_KILTED)
T = STORE.types
IDS = np.zeros((24, 32), np.uint16)
IDS[4:9, 5:12] = 3


def header(second: int) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](sec=second, nanosec=7)
    return T["std_msgs/msg/Header"](stamp=stamp, frame_id="base_link")


def image(second: int, array: np.ndarray, encoding: str) -> Any:
    height, width = array.shape
    step, data = array.dtype.itemsize * width, array.view(np.uint8).ravel()
    return T[IMAGE](header(second), height, width, encoding, 0, step, data)


def jpeg(second: int) -> Any:
    _, data = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))
    return T[COMPRESSED](header(second), "rgb8; jpeg compressed bgr8", data)


def marker(second: int, number: int, kind: str, shape: int, action: int) -> Any:
    point, quaternion = T["geometry_msgs/msg/Point"], T["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    red, duration = T["std_msgs/msg/ColorRGBA"](1.0, 0.0, 0.0, 1.0), T["builtin_interfaces/msg/Duration"](1, 0)
    fields = {
        "header": header(second),
        "ns": f"front/{kind}",
        "id": number,
        "type": shape,
        "action": action,
        "pose": T["geometry_msgs/msg/Pose"](point(10.0, 1.0, 0.0), quaternion),
        "scale": T["geometry_msgs/msg/Vector3"](0.1, 0.1, 0.4),
        "color": red,
        "lifetime": duration,
        "frame_locked": False,
        "points": [point(0.0, 0.0, 0.0), point(0.0, 1.0, 2.0)],
        "colors": [],
        "texture_resource": "",
        "texture": T["sensor_msgs/msg/CompressedImage"](header(0), "", np.zeros(0, np.uint8)),
        "uv_coordinates": [],
        "text": f"unknown {number}",
        "mesh_resource": "",
        "mesh_file": T["visualization_msgs/msg/MeshFile"]("", np.zeros(0, np.uint8)),
        "mesh_use_embedded_materials": False,
    }
    return T["visualization_msgs/msg/Marker"](**fields)


def markers(second: int, action: int) -> Any:
    both = [marker(second, 4, "outline", 4, action), marker(second, 4, "label", 9, action)]
    return T[MARKERS](both)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    anomaly = np.linspace(0, 1, IDS.size, dtype=np.float32).reshape(IDS.shape)
    messages = [
        ("/m2a/debug/front/overlay/compressed", COMPRESSED, [jpeg(1), jpeg(2)]),
        ("/m2a/output/front/anomaly_map", IMAGE, [image(1, anomaly, "32FC1")]),
        ("/m2a/output/front/unknown_instances", IMAGE, [image(1, IDS, "16UC1")]),
        ("/m2a/output/front/unknown_markers", MARKERS, [markers(1, 0), markers(2, 2)]),
        ("/m2a/output/rear/anomaly_map", IMAGE, [image(1, anomaly, "32FC1")]),
        ("/camera/image_raw", IMAGE, [image(1, IDS, "16UC1")]),
    ]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind, sent in messages:
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for message in sent:
                writer.write(connection, 10**9, STORE.serialize_cdr(message, kind))
    return tmp_path / "bag"


def entities(recording: Path) -> set[str]:
    """The entity paths a recording holds, as the viewer's own tool prints them."""
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(recording)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    known = [
        "cameras/front/overlay",
        "cameras/front/anomaly_map",
        "cameras/front/unknown_instances",
        "cameras/rear/anomaly_map",
        "world/front/lines",
        "world/front/labels",
    ]
    return {entity for entity in known if f"/{entity}" in printed}


@pytest.mark.slow
def test_a_bag_s_outputs_are_recorded_and_other_topics_are_not(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.rrd"
    assert main(["view", "--bag", str(bag), "--camera", "front", "--save", str(out)]) == 0
    assert "6 messages shown" in capsys.readouterr().out
    assert entities(out) == {
        "cameras/front/overlay",
        "cameras/front/anomaly_map",
        "cameras/front/unknown_instances",
        "world/front/lines",
        "world/front/labels",
    }


def test_a_bag_without_outputs_is_refused(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "--bag", str(bag), "--camera", "left", "--save", str(tmp_path / "out.rrd")]) == 2
    assert "left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("topic", "kind", "what"),
    [
        ("/m2a/debug/front/overlay/compressed", COMPRESSED, "overlay"),
        ("/car/m2a/output/front/unknown_markers", MARKERS, "unknown_markers"),
        ("/m2a/debug/front/overlay", IMAGE, None),
        ("/m2a/output/front/open_set_mask", IMAGE, None),
        ("/m2a/output/front/anomaly_map", COMPRESSED, None),
        ("/output/anomaly_map", IMAGE, None),
    ],
)
def test_topics_are_told_by_name_and_type(topic: str, kind: str, what: str | None) -> None:
    shown = shown_topic(topic, kind, ())
    assert (shown.what if shown else None) == what


def test_another_node_s_topics_are_not_shown() -> None:
    assert shown_topic("/car/m2a/output/front/anomaly_map", IMAGE, (), "/m2a") is None
    assert shown_topic("/car/m2a/output/front/anomaly_map", IMAGE, (), "/car/m2a") is not None


@pytest.mark.dds
def test_a_running_node_s_topics_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rclpy = pytest.importorskip("rclpy")
    from sensor_msgs.msg import Image
    from visualization_msgs.msg import Marker, MarkerArray

    from m2a_ros.view.live import show_node
    from m2a_ros.view.rerun_sink import RerunSink
    from test.ros.harness import PATIENCE_S, own_domain

    with own_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        context = rclpy.context.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("m2a", context=context)
        maps = node.create_publisher(Image, "/m2a/output/front/unknown_instances", 1)
        things = node.create_publisher(MarkerArray, "/m2a/output/front/unknown_markers", 1)
        message = Image(height=24, width=32, encoding="16UC1", step=64, data=IDS.tobytes())
        line = Marker(ns="front/outline", id=1, type=Marker.LINE_STRIP, action=Marker.ADD)

        def publish() -> None:
            maps.publish(message)
            things.publish(MarkerArray(markers=[line]))

        node.create_timer(0.1, publish)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        thread = Thread(target=executor.spin, daemon=True)
        thread.start()

        class UntilAllCame(RerunSink):
            came: ClassVar[set[str]] = set()

            def show(self, topic: ShownTopic, message: Any) -> None:
                if len(self.came) == 2:
                    raise KeyboardInterrupt
                super().show(topic, message)
                self.came.add(topic.what)

        sink = UntilAllCame(tmp_path / "live.rrd")
        try:
            count = show_node("m2a", (), sink, PATIENCE_S)
        finally:
            executor.shutdown()
            thread.join(10)
            node.destroy_node()
            rclpy.try_shutdown(context=context)
        sink.close()
    assert count > 1
    assert entities(tmp_path / "live.rrd") == {
        "cameras/front/unknown_instances",
        "world/front/lines",
        "world/front/labels",
    }


@pytest.mark.dds
def test_a_viewer_that_finds_no_node_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("rclpy")
    from m2a_ros.view.live import show_node
    from m2a_ros.view.rerun_sink import RerunSink
    from test.ros.harness import own_domain

    class Told(RerunSink):
        def __init__(self) -> None:
            """Nothing is shown."""

    with own_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        assert show_node("/car/m2a", ("front",), Told(), 3.0) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert "/car/m2a for the cameras front" in note
