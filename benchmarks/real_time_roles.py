"""The processes of ``real_time.py``: cameras, listener, and the nodes it compares. Not meant to be started by hand."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from benchmarks.stand_in import DEMO_FRAME, BusyTime, StandInAccelerator
from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.images import read_image
from m2a_core.overlay import draw_overlay
from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult
from m2a_ros.process.allocation import keep_freed_memory

MODEL = "m2a-edge"
# Encapsulation, then the header's stamp, in every message that begins with a header.
_STAMP = struct.Struct("<4xiI")
_KEPT = 10
"""Messages that the listener keeps of a topic, as in ROS's own examples: with one, it loses frames that the node has
published, and they would count as not answered."""
_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def topic_of(camera: str, output: str) -> tuple[str, type]:
    """An output's topic and type."""
    match output:
        case "overlay":
            return f"/m2a/debug/{camera}/overlay", Image
        case "overlay_compressed":
            return f"/m2a/debug/{camera}/overlay/compressed", CompressedImage
        case "unknown_markers":
            return f"/m2a/output/{camera}/unknown_markers", MarkerArray
        case _:
            return f"/m2a/output/{camera}/{output}", Image


def stand_in(settings: dict[str, Any], bundle: ModelBundle) -> StandInAccelerator:
    """The accelerator of a node's process."""
    times = {int(size): float(value) for size, value in settings["milliseconds"].items()}
    return StandInAccelerator(bundle, times, BusyTime(Path(settings["busy_file"]), create=True))


def model_of(settings: dict[str, Any], folder: Path) -> Path:
    """The model's folder: the shipped one, or made of it for the cameras' own images."""
    shipped = load_bundle(MODEL)
    if not settings.get("camera_graph"):
        return shipped.directory
    from m2a_core.export.camera_graph import write_camera_bundle

    copy = folder / MODEL
    shutil.copytree(shipped.directory, copy)
    height, width = settings["size"]
    return write_camera_bundle(load_bundle(copy), (height, width), "rgb8", [read_image(DEMO_FRAME)])[0]


class UsualNode(Node):
    """The outputs of the node, published as most Python nodes do it: one frame after the other, bytes assigned."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__("m2a")
        bundle = load_bundle(MODEL)
        self._perception = Perception(bundle.manifest, stand_in(settings, bundle))
        self._outputs = {
            camera: {
                name: self.create_publisher(topic_of(camera, name)[1], topic_of(camera, name)[0], 1)
                for name in settings["outputs"]
            }
            for camera in settings["cameras"]
        }
        for camera in settings["cameras"]:
            callback = partial(self._answer, camera)
            self.create_subscription(Image, f"/m2a/input/{camera}/image", callback, _BEST_EFFORT)

    def _answer(self, camera: str, message: Image) -> None:
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        result = self._perception.infer(Frame(image))
        for name, publisher in self._outputs[camera].items():
            publisher.publish(self._message(name, message, image, result))

    def _message(self, name: str, source: Image, image: np.ndarray, result: OpenSetResult) -> Any:
        if name == "unknown_markers":
            return MarkerArray(markers=[Marker(header=source.header, id=i.id) for i in result.instances])
        if name.startswith("overlay"):
            array, encoding = draw_overlay(image, result, self._perception.labels), "rgb8"
        else:
            fields = {
                "anomaly_map": (result.score, "32FC1"),
                "open_set_mask": (result.open_set, "mono8"),
                "panoptic": (result.panoptic, "16UC1"),
                "unknown_instances": (result.unknown_instances, "16UC1"),
            }
            array, encoding = fields[name]
            array = array.astype({"32FC1": np.float32, "mono8": np.uint8, "16UC1": np.uint16}[encoding])
        if name == "overlay_compressed":
            jpeg = cv2.imencode(".jpg", cv2.cvtColor(array, cv2.COLOR_RGB2BGR))[1]
            return CompressedImage(header=source.header, format="jpeg", data=jpeg.tobytes())
        made = Image(header=source.header, height=array.shape[0], width=array.shape[1], encoding=encoding)
        made.step = array.strides[0]
        made.data = array.tobytes()
        return made


class Listener:
    """Notes when the last output of each frame came, without decoding it: only the stamp is read."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._node = rclpy.create_node("listener")
        self._needed = len(settings["outputs"])
        self._came: dict[tuple[str, int], int] = {}
        self._latencies: list[float] = []
        self._counts: dict[str, dict[str, int]] = {}
        self._before: dict[str, dict[str, int]] = {}
        self._stages: dict[str, str] = {}
        self._since = 0
        self._lock = threading.Lock()
        for camera in settings["cameras"]:
            for output in settings["outputs"]:
                topic, kind = topic_of(camera, output)
                if kind is MarkerArray:
                    # Its first header lies behind the number of markers, which may be none.
                    self._needed -= camera == settings["cameras"][0]
                    self._node.create_subscription(kind, topic, lambda _: None, 1, raw=True)
                    continue
                self._node.create_subscription(kind, topic, partial(self._take, camera), _KEPT, raw=True)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        threading.Thread(target=self._spin, daemon=True).start()

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Obey ``report``, ``settle`` (seconds) or ``reset``."""
        time.sleep(order.get("settle", 0.0))
        with self._lock:
            if order.get("reset"):
                self._latencies.clear()
                self._came.clear()
                self._since = time.time_ns()
                self._before = {camera: dict(counts) for camera, counts in self._counts.items()}
            new: Counter[str] = Counter()
            for camera, counts in self._counts.items():
                before = self._before.get(camera, {})
                new.update({key: value - before.get(key, 0) for key, value in counts.items()})
            return {
                "answered": len(self._latencies),
                "latencies_ms": self._latencies[:],
                "received": new.pop("received", 0),
                "dropped": {
                    key.removeprefix("dropped."): n for key, n in new.items() if key.startswith("dropped.") and n
                },
                "stages_ms": self._stages,
            }

    def _take(self, camera: str, data: bytes) -> None:
        now = time.time_ns()
        seconds, nanoseconds = _STAMP.unpack_from(data)
        stamp = seconds * 1_000_000_000 + nanoseconds
        if stamp < self._since:
            return
        with self._lock:
            key = (camera, stamp)
            self._came[key] = self._came.get(key, 0) + 1
            if self._came[key] == self._needed:
                del self._came[key]
                self._latencies.append((now - stamp) / 1e6)

    def _diagnose(self, message: DiagnosticArray) -> None:
        with self._lock:
            for status in message.status:
                head, _, camera = status.name.rpartition(": camera ")
                if head:
                    values = {pair.key: pair.value for pair in status.values}
                    self._counts[camera] = {
                        key: int(value)
                        for key, value in values.items()
                        if key == "received" or key.startswith("dropped.")
                    }
                    self._stages = {key: value for key, value in values.items() if key.endswith("_ms")}

    def _spin(self) -> None:
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(self._node)


class Cameras:
    """Send the same picture again and again with a camera_info; cameras take turns within the period."""

    def __init__(self, settings: dict[str, Any]) -> None:
        height, width = settings["size"]
        self._node = rclpy.create_node("cameras")
        self._rate = settings["rate"]
        self._images, self._infos = [], []
        for camera in settings["cameras"]:
            self._images.append(self._node.create_publisher(Image, f"/m2a/input/{camera}/image", 1))
            self._infos.append(self._node.create_publisher(CameraInfo, f"/m2a/input/{camera}/camera_info", 1))
        pixels = cv2.resize(read_image(DEMO_FRAME), (width, height), interpolation=cv2.INTER_CUBIC)
        self._image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        self._image.header.frame_id = "optical"
        self._image.data.frombytes(pixels.tobytes())
        matrix = [float(width), 0.0, width / 2, 0.0, float(width), height / 2, 0.0, 0.0, 1.0]
        self._info = CameraInfo(height=height, width=width, k=matrix, distortion_model="plumb_bob", d=[0.0] * 5)

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send for ``seconds``."""
        count = len(self._images) * max(1, round(order["seconds"] * self._rate))
        start = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, start + number / (self._rate * len(self._images)) - time.monotonic()))
            self._image.header.stamp = self._info.header.stamp = self._node.get_clock().now().to_msg()
            self._infos[number % len(self._infos)].publish(self._info)
            self._images[number % len(self._images)].publish(self._image)
        return {"sent": count}


class BareNode(Node):
    """Takes the messages that the node takes, and does nothing with them: what the middleware costs."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__("bare")
        for camera in settings["cameras"]:
            for kind, name in ((Image, "image"), (CameraInfo, "camera_info")):
                topic = f"/m2a/input/{camera}/{name}"
                self.create_subscription(kind, topic, lambda _: None, _BEST_EFFORT, raw=True)


def run_node(settings: dict[str, Any]) -> None:
    """The real node, whose network is the stand-in."""
    from m2a_ros.node import model
    from m2a_ros.node.process import run

    model.create_runtime_or_fall_back = lambda bundle, *_, **__: (  # type: ignore[assignment]
        stand_in(settings, bundle),
        "stand_in",
    )
    parameters = {
        "cameras": settings["cameras"],
        "extrinsics": "parameters",
        "diagnostics": {"period": 0.5 if settings["outputs"] else 1.0},
        "output": {"resolution": settings["resolution"]},
        "horizon": {"window": settings["horizon"]},
    }
    with tempfile.TemporaryDirectory() as folder:
        parameters["model"] = str(model_of(settings, Path(folder)))
        file = Path(folder, "parameters.yaml")
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
        run([sys.argv[0], "--ros-args", "--params-file", str(file)])


def main() -> None:
    """Be the process that the first argument names; the second one is its settings as JSON."""
    role, settings = sys.argv[1], json.loads(sys.argv[2])
    if role == "node":
        run_node(settings)
        return
    # rclpy's own handler of SIGINT wakes a node that waits for messages; one of Python's would not be called.
    rclpy.init(args=[])
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        if role == "usual":
            rclpy.spin(UsualNode(settings))
        elif role == "bare":
            keep_freed_memory()
            rclpy.spin(BareNode(settings))
        else:
            worker = Listener(settings) if role == "listener" else Cameras(settings)
            for line in sys.stdin:
                print(json.dumps(worker.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
