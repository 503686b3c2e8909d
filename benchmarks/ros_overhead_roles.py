"""The processes of ``ros_overhead.py``: camera, listener and the nodes it compares. Not meant to be started by hand."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.bundle.manifest import Manifest, Thresholds
from m2a_core.images import read_image
from m2a_core.labels.builtin import CAMVID11
from m2a_core.overlay import draw_overlay, shrink
from m2a_core.perception.task import PerceptionTask, Steps
from m2a_core.types import OpenSetResult, UnknownInstance
from m2a_ros.images.conversions import fill_image, fill_jpeg
from m2a_ros.outputs import output_spec

IN, OUT, DEBUG = "/m2a/input/front", "/m2a/output/front", "/m2a/debug/front"
MAPS = {spec.topic: spec.encoding for spec in output_spec.MAPS}
OUTPUTS = {
    **{name: (f"{OUT}/{name}", Image) for name in MAPS},
    "unknown_markers": (f"{OUT}/unknown_markers", MarkerArray),
    "overlay": (f"{DEBUG}/overlay", Image),
    "overlay_compressed": (f"{DEBUG}/overlay/compressed", CompressedImage),
}
SETTLE_S = 1.0
DEMO_FRAME = Path(__file__).parent.parent / "config" / "demo" / "frames" / "000.jpg"


def constant_result(height: int, width: int) -> OpenSetResult:
    """A street like those of CamVid, smooth as a network's output is, with three unknown instances on the road."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    skyline = 0.25 + 0.1 * np.sin(9 * columns)
    edge = 0.45 + 1.2 * np.abs(columns - 0.5)
    names = CAMVID11.names
    open_set = np.select(
        [rows < skyline, rows < 0.45, rows < edge - 0.1, rows < edge],
        [names.index(name) for name in ("sky", "building", "tree", "pavement")],
        names.index("road"),
    ).astype(np.uint8)
    anomaly = 0.05 + 0.3 * np.exp(-200 * (rows - edge) ** 2)
    ids = np.zeros((height, width), np.uint16)
    instances = []
    for number in (1, 2, 3):
        x0, y0 = width * number // 5, height * 3 // 5
        x1, y1 = x0 + max(2, width // 20), y0 + max(2, height // 10)
        ids[y0:y1, x0:x1] = number
        contour = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.int32)
        bbox, contact = (x0, y0, x1, y1), ((x0 + x1) / 2, float(y1))
        anomaly[y0:y1, x0:x1], open_set[y0:y1, x0:x1] = 0.95, CAMVID11.unknown_id
        instances.append(UnknownInstance(number, 0.9, (x1 - x0) * (y1 - y0), bbox, contour, contact))
    return OpenSetResult(
        anomaly=anomaly,
        score=anomaly,
        open_set=open_set,
        panoptic=open_set.astype(np.int32) * 256,
        unknown_instances=ids,
        instances=tuple(instances),
    )


class ConstantModel:
    """Stands for the node's model and for its perception: no network, no heads."""

    size = (1080, 1920)

    def __init__(self, settings: Any, warn: Any) -> None:
        self.backend, self.labels = "constant", CAMVID11
        self.batch_sizes, self.is_accelerated, self.pid = (1,), False, os.getpid()
        self._result = constant_result(*self.size)
        self.manifest = Manifest(
            name="constant",
            onnx_file="none.onnx",
            onnx_sha256=64 * "0",
            input_size=(512, 1024),
            num_queries=100,
            labels=CAMVID11,
            thresholds=Thresholds(0.5, 0.5),
            mean=(0, 0, 0),
            std=(1, 1, 1),
            license="none",
        )

    def perception(self, settings: Any) -> ConstantModel:
        """Itself, whatever the thresholds."""
        return self

    def begin(self, frame: Any, wanted: Any, last: Any = None, size: Any = None) -> PerceptionTask:
        """A frame that nothing needs to look at."""
        return PerceptionTask(self._steps())

    def run(self, frames: Any, raw: bool = False, meanwhile: Callable[[], object] = lambda: None) -> None:
        """No network."""
        meanwhile()

    def finish(self, frame: PerceptionTask) -> OpenSetResult:
        """The constant result."""
        return frame.result()

    def _steps(self) -> Steps:
        yield ()
        return self._result

    def ended(self) -> str:
        """It has no process of its own that could end."""
        return ""

    def abandon(self) -> None:
        """Nothing of it hangs."""

    def close(self) -> None:
        """Nothing to free."""


class UsualNode(Node):
    """The outputs of the node, published as most Python nodes do it."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__("m2a")
        self._result = constant_result(height, width)
        self._outputs = {name: self.create_publisher(kind, topic, 1) for name, (topic, kind) in OUTPUTS.items()}
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, f"{IN}/image", self._answer, qos)

    def _answer(self, message: Image) -> None:
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        result = self._result
        overlay = draw_overlay(image, result, CAMVID11)
        maps = (result.anomaly, result.open_set, result.panoptic.astype(np.uint16), result.unknown_instances)
        pictures = [*zip(MAPS, MAPS.values(), maps, strict=True), ("overlay", "rgb8", overlay)]
        for name, encoding, array in pictures:
            output = Image(header=message.header, height=message.height, width=message.width, encoding=encoding)
            output.step = array.strides[0]
            output.data = array.reshape(-1).view(np.uint8)
            self._outputs[name].publish(output)
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))[1]
        self._outputs["overlay_compressed"].publish(
            CompressedImage(header=message.header, format="jpeg", data=jpeg.ravel())
        )
        markers = [Marker(header=message.header, id=instance.id) for instance in result.instances]
        self._outputs["unknown_markers"].publish(MarkerArray(markers=markers))


class BareNode(UsualNode):
    """Takes the image and publishes messages that were filled before: what rclpy and DDS cost whatever a node does."""

    def __init__(self, height: int, width: int, overlay_width: int) -> None:
        super().__init__(height, width)
        picture = cv2.resize(read_image(DEMO_FRAME), (width, height))
        overlay = draw_overlay(*shrink(picture, self._result, overlay_width), CAMVID11)
        self._messages: dict[str, Any] = {name: kind() for name, (_, kind) in OUTPUTS.items()}
        fill_image(self._messages["overlay"], overlay, "rgb8")
        fill_jpeg(self._messages["overlay_compressed"], overlay)
        self._messages["unknown_markers"].markers = [Marker(id=instance.id) for instance in self._result.instances]
        for spec in output_spec.MAPS:
            values = spec.convert(getattr(self._result, spec.output.value))
            fill_image(self._messages[spec.topic], values, spec.encoding)

    def _answer(self, _: Image) -> None:
        for name, publisher in self._outputs.items():
            publisher.publish(self._messages[name])


class Listener:
    """Counts what comes on outputs, and collects the times that the node reports."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self._node = rclpy.create_node("listener")
        self._counts: Counter[str] = Counter()
        self._times: list[tuple[float, float]] = []
        self._received = self._received_before = 0
        for name in outputs:
            topic, kind = OUTPUTS[name]
            self._counts[name] = 0
            self._node.create_subscription(kind, topic, lambda _, name=name: self._counts.update([name]), 5)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._keep_times, 5)
        threading.Thread(target=self._spin, daemon=True).start()

    def _spin(self) -> None:
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(self._node)

    def _keep_times(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._received = int(values.get("received", self._received))
            if "network_ms" in values:
                self._times.append((float(values["network_ms"]), float(values["processing_time_ms"])))

    def answer(self, line: str) -> dict[str, float]:
        """Obey ``report``, ``settle`` (report once nothing more comes) or ``reset``."""
        if line == "settle":
            seen = -1
            while seen != self._counts.total():
                seen = self._counts.total()
                time.sleep(SETTLE_S)
        report: dict[str, float] = dict(self._counts)
        report["frame_ms"] = median([frame for _, frame in self._times] or [0.0])
        report["not_inference_ms"] = median([frame - network for network, frame in self._times] or [0.0])
        report["received"] = self._received - self._received_before
        if line == "reset":
            self._received_before = self._received
            self._counts = Counter(dict.fromkeys(self._counts, 0))
            self._times.clear()
        return report


class Camera:
    """Sends the same picture again and again with a camera_info, at a rate."""

    def __init__(self, height: int, width: int) -> None:
        self._node = rclpy.create_node("camera")
        self._images = self._node.create_publisher(Image, f"{IN}/image", 1)
        self._infos = self._node.create_publisher(CameraInfo, f"{IN}/camera_info", 1)
        pixels = cv2.resize(read_image(DEMO_FRAME), (width, height), interpolation=cv2.INTER_CUBIC)
        self._image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        self._image.data.frombytes(pixels.tobytes())
        matrix = [float(width), 0.0, width / 2, 0.0, float(width), height / 2, 0.0, 0.0, 1.0]
        self._info = CameraInfo(height=height, width=width, k=matrix)

    def answer(self, line: str) -> dict[str, float]:
        """Obey ``RATE COUNT``."""
        rate, count = line.split()
        start = time.monotonic()
        for number in range(int(count)):
            time.sleep(max(0.0, start + number / float(rate) - time.monotonic()))
            self._image.header.stamp = self._info.header.stamp = self._node.get_clock().now().to_msg()
            self._infos.publish(self._info)
            self._images.publish(self._image)
        elapsed = max(time.monotonic() - start, 1e-9)
        return {"sent": int(count), "rate_hz": round((int(count) - 1) / elapsed, 2)}


def obey(worker: Listener | Camera) -> None:
    """Answer every line on standard input with one of JSON."""
    for line in sys.stdin:
        print(json.dumps(worker.answer(line.strip())), flush=True)


def main() -> None:
    """Be the process that the first argument names: role, height, width, model, width of the overlay, outputs."""
    role, height, width, model, overlay = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    # The listener reads times and counts from the diagnostics: times of many frames, counts once at the end.
    period = 0.1 if role == "model" else 0.5
    ros = ["--ros-args", "-p", "mounting.front.height:=1.5", "-p", f"diagnostics.period:={period}"]
    if role in ("constant", "model"):
        import m2a_ros.node.node
        from m2a_ros.node.process import run

        if role == "constant":
            ConstantModel.size = (height, width)
            vars(m2a_ros.node.node)["LoadedModel"] = ConstantModel
        run([sys.argv[0], *ros, "-p", f"model:={model}", "-p", f"overlay.max_width:={overlay}"])
        return
    # rclpy's own handler of SIGINT wakes a node that waits for messages; one of Python's would not be called.
    rclpy.init(args=[])
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        if role in ("usual", "bare"):
            rclpy.spin(UsualNode(height, width) if role == "usual" else BareNode(height, width, int(overlay)))
        else:
            obey(Listener(sys.argv[6:]) if role == "listener" else Camera(height, width))


if __name__ == "__main__":
    main()
