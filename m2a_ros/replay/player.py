"""The cameras of modes realtime and peak, a process of its own: publishes a bag's images, serialised, on time.

Orders come on stdin, one JSON object a line, and each is answered by one on stdout:

- ``{"blank": STAMP_NS}`` sends a black image on every topic;
- ``{"play": FILE}`` plays the bag at its own pace times ``rate``, with ``/clock``, and writes what was sent to FILE;
- ``{"rate": HZ, "count": N, "file": FILE}`` sends N of the loaded images at a fixed rate, stamped on sending.

A line of FILE is ``camera,stamp_ns,recorded_ns,due_ns,sent_ns,restamped,frame_id``. ``restamped`` is 1 where the stamp
was zero and is the time of recording; ``due_ns`` (when it was to be sent) and ``sent_ns`` are ``time.monotonic_ns()``;
``sent_ns`` is 0 for a message that cannot be decoded: such a message is not sent. ``frame_id`` is JSON: it may hold
anything.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo

from m2a_core.errors import DataError, M2aError
from m2a_core.types import Frame
from m2a_ros.bag.cameras import CameraTopic, choose
from m2a_ros.bag.frames import image_messages, load_frames, stamp_of
from m2a_ros.bag.locations import path_of
from m2a_ros.bag.reader import CAMERA_INFO, Bag, UndecodableMessage, decode
from m2a_ros.replay.node_runner import camera_info_topic, input_topic
from m2a_ros.replay.threads import Prefetcher
from m2a_ros.replay.warm_up import BLANK_SIZE, blank_image

LONGEST_GAP_S = 5.0
"""A longer pause in a bag is played as one of this length."""

_CLOCK_PERIOD_S = 0.01
_READ_AHEAD = 32
_PRELOAD_BYTES = 1 << 30
_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# The header comes first: four bytes of encapsulation, then seconds and nanoseconds of its stamp.
_STAMP = slice(4, 12)


@dataclass(frozen=True)
class Sent:
    """An image that was published; see the module."""

    camera: str
    stamp_ns: int
    recorded_ns: int
    due_ns: int
    sent_ns: int
    restamped: bool
    frame_id: str

    def line(self) -> str:
        """As a CSV line; a comma in the frame id does no harm as it comes last."""
        times = f"{self.stamp_ns},{self.recorded_ns},{self.due_ns},{self.sent_ns}"
        return f"{self.camera},{times},{int(self.restamped)},{json.dumps(self.frame_id)}\n"


class SentLog:
    """Reads what a player writes, while it does."""

    def __init__(self, path: Path) -> None:
        """Start at the beginning; the file need not be there yet."""
        self._path = path
        self._read = 0

    def new(self) -> list[Sent]:
        """The records that came since the last call."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        records = []
        for line in data.decode().splitlines():
            camera, stamp, recorded, due, sent, restamped, frame_id = line.split(",", 6)
            times = (int(stamp), int(recorded), int(due), int(sent))
            records.append(Sent(camera, *times, restamped == "1", json.loads(frame_id)))
        return records


class BagClock:
    """``/clock``: bag time, running at ``rate`` from wherever it is set to."""

    def __init__(self, node: Node, rate: float, start_ns: int) -> None:
        """Start the thread that publishes it."""
        self._publisher = node.create_publisher(Clock, "/clock", _QOS)
        self._rate = rate
        self._lock = threading.Lock()
        self._from = (time.monotonic_ns(), start_ns)
        threading.Thread(target=self._run, name="m2a_replay_clock", daemon=True).start()

    def set(self, bag_ns: int) -> None:
        """Go on from here."""
        with self._lock:
            self._from = (time.monotonic_ns(), bag_ns)
        self._publish()

    def _publish(self) -> None:
        with self._lock:
            wall, bag = self._from
        sec, nanosec = divmod(bag + int((time.monotonic_ns() - wall) * self._rate), 1_000_000_000)
        message = Clock()
        message.clock.sec, message.clock.nanosec = sec, nanosec
        self._publisher.publish(message)

    def _run(self) -> None:
        while rclpy.ok():
            self._publish()
            time.sleep(_CLOCK_PERIOD_S)


class Player:
    """Publishes one bag's images."""

    def __init__(self, node: Node, bag: Bag, wanted: dict[str, str], rate: float | None, calibrated: bool) -> None:
        """Set up the publishers.

        Args:
            node: to publish with.
            bag: the bag.
            wanted: topic -> camera, as for ``cameras.choose``.
            rate: how fast ``/clock`` runs; None for none, and images are loaded now.
            calibrated: whether ``camera_info`` is sent too, before each image.
        """
        self._bag = bag
        self._cameras: tuple[CameraTopic, ...] = choose(bag, wanted).used
        self._publishers: dict[str, Any] = {
            c.camera: node.create_publisher(*input_topic(c), _QOS) for c in self._cameras
        }
        self._infos = {c.camera: node.create_publisher(CameraInfo, camera_info_topic(c), _QOS) for c in self._cameras}
        self._calibrated = calibrated
        self._first_infos = self._read_first_infos() if calibrated else {}
        self._rate = rate or 1.0
        self._clock = None if rate is None else BagClock(node, rate, bag.start_ns)
        self._loaded = list(self._load()) if rate is None else []
        if rate is None and not self._loaded:
            raise DataError(f"bag {bag.path}: no image in it can be sent")

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Obey one order; see the module."""
        if "blank" in order:
            for camera in self._cameras:
                size = BLANK_SIZE
                if info := self._first_infos.get(camera.camera):
                    self._infos[camera.camera].publish(info)
                    calibration = decode(info, CAMERA_INFO)
                    if calibration.height and calibration.width:
                        size = (calibration.height, calibration.width)
                self._publishers[camera.camera].publish(blank_image(camera, order["blank"], size))
            return {}
        if "play" in order:
            with Path(order["play"]).open("w", encoding="utf-8") as log:
                return self._play(log)
        with Path(order["file"]).open("w", encoding="utf-8") as log:
            return self._send(float(order["rate"]), int(order["count"]), log)

    def _play(self, log: TextIO) -> dict[str, Any]:
        gaps = 0
        due = bag_time = None
        with Prefetcher(image_messages(self._bag, self._cameras, calibrated=self._calibrated), _READ_AHEAD) as messages:
            for recorded in messages:
                try:
                    message = decode(recorded.data, recorded.msgtype)
                except UndecodableMessage:
                    _note(log, Sent(recorded.camera, 0, recorded.recorded_ns, 0, 0, False, ""))
                    continue
                if due is None or bag_time is None:
                    due = time.monotonic_ns()
                    self._set_clock(recorded.recorded_ns)
                else:
                    pause = recorded.recorded_ns - bag_time
                    if pause > 1e9 * LONGEST_GAP_S:
                        gaps += 1
                        pause = int(1e9 * LONGEST_GAP_S)
                    due += int(pause / self._rate)
                    _sleep_until(due)
                    if pause != recorded.recorded_ns - bag_time:
                        self._set_clock(recorded.recorded_ns)
                bag_time = recorded.recorded_ns
                stamp, frame_id = stamp_of(message), message.header.frame_id
                sent = Sent(recorded.camera, stamp, bag_time, due, time.monotonic_ns(), recorded.restamped, frame_id)
                _note(log, sent)
                if recorded.camera_info:
                    self._infos[recorded.camera].publish(recorded.camera_info)
                self._publishers[recorded.camera].publish(recorded.data)
        return {"gaps_shortened": gaps}

    def _send(self, rate: float, count: int, log: TextIO) -> dict[str, Any]:
        start = time.monotonic_ns()
        for number in range(count):
            camera, data, frame_id = self._loaded[number % len(self._loaded)]
            due = start + int(1e9 * number / rate)
            _sleep_until(due)
            stamp = time.time_ns()
            sec, nanosec = divmod(stamp, 1_000_000_000)
            data[_STAMP] = sec.to_bytes(4, "little") + nanosec.to_bytes(4, "little")
            message = bytes(data)
            _note(log, Sent(camera, stamp, 0, due, time.monotonic_ns(), False, frame_id))
            self._publishers[camera].publish(message)
        return {"images": len(self._loaded), "seconds": max(1, time.monotonic_ns() - start) / 1e9}

    def _read_first_infos(self) -> dict[str, bytes]:
        """The first calibration of each camera that has one, by its name."""
        firsts = [next(image_messages(self._bag, [camera], calibrated=True), None) for camera in self._cameras]
        return {first.camera: first.camera_info for first in firsts if first is not None and first.camera_info}

    def _set_clock(self, bag_ns: int) -> None:
        if self._clock is not None:
            self._clock.set(bag_ns)

    def _load(self) -> Iterator[tuple[str, bytearray, str]]:
        """Images to send again and again: as many as fit into memory, sound and little-endian ones."""
        size = 0
        for loaded in load_frames(self._bag, self._cameras):
            data = loaded.recorded.data
            size += len(data)
            if size > _PRELOAD_BYTES:
                return
            if isinstance(loaded.content, Frame) and data[1] & 1:
                yield loaded.recorded.camera, bytearray(data), loaded.content.frame_id


def _note(log: TextIO, sent: Sent) -> None:
    """Write a line that can be read before the image comes back."""
    log.write(sent.line())
    log.flush()


def _sleep_until(due_ns: int) -> None:
    time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)


def main() -> int:
    """Obey until stdin ends; the one argument is JSON with ``bag``, ``wanted``, ``rate`` and ``calibrated``."""
    settings = json.loads(sys.argv[1])
    rclpy.init(args=[])
    node = rclpy.create_node("m2a_replay_player")
    try:
        with Bag(path_of(settings["bag"])) as bag:
            player = Player(node, bag, settings["wanted"], settings["rate"], settings["calibrated"])
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                print(json.dumps(player.answer(json.loads(line))), flush=True)
    except M2aError as error:
        print(json.dumps({"error": str(error)}), flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
