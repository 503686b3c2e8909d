"""The real node for hours: four cameras whose rates and sizes change, outputs heard and not; what grows is shown.

    make soak HOURS=3                                       # or: python -m benchmarks.soak --hours 3 --out out/soak
    python -m benchmarks.soak --hours 12 --model m2a-edge --rate 8

OUT receives samples.csv (a row every --every seconds), summary.json and soak.svg. Slopes are least squares over the
second half. A wrong stamp is an answer to no frame that was sent. The exit code is 1 where the node ended, a stamp was
wrong, or memory, files or threads grew beyond the limits that are printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image
from tqdm import tqdm

from benchmarks.chart_file import standalone
from benchmarks.ros_overhead import resident_mib
from m2a_core.reporting.charts import Series, line_chart
from m2a_core.reporting.plot import Axis
from m2a_ros.process.dds import local_environment
from m2a_ros.process.domain import free_domain
from test.tiny_bundle import write_tiny_bundle

CAMERAS = ("front", "left", "right", "rear")
SIZES = ((120, 160), (180, 320), (240, 320), (360, 640))
OUTPUTS = ("anomaly_map", "open_set_mask", "panoptic", "unknown_instances")
PHASE_S = 30.0
MAX_MIB_PER_HOUR, MAX_FILES_PER_HOUR, MAX_THREADS_PER_HOUR = 8.0, 2.0, 2.0
_REMEMBERED = 400
_READY_S = 60.0
COLUMNS = ("seconds", "rss_mib", "files", "threads", "sent", "answered", "dropped", "wrong_stamps", "p50_ms", "p99_ms")


class Drive:
    """Cameras and listener in this process; what they do changes at random, seeded."""

    def __init__(self, rate: float, seed: int) -> None:
        """Advertise.

        Args:
            rate: frames a second of all cameras together, in the mean.
            seed: of what changes when.
        """
        self._rate, self._random = rate, random.Random(seed)
        self._node = rclpy.create_node("drive")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._images = {c: self._node.create_publisher(Image, f"/m2a/input/{c}/image", 1) for c in CAMERAS}
        self._infos = {c: self._node.create_publisher(CameraInfo, f"/m2a/input/{c}/camera_info", 1) for c in CAMERAS}
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        self._heard: dict[tuple[str, str], Any] = {}
        self._sent_at: dict[str, deque[tuple[int, int]]] = {c: deque(maxlen=_REMEMBERED) for c in CAMERAS}
        self._pictures = {size: _picture(size) for size in SIZES}
        self._rates: dict[str, float] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._due: dict[str, float] = {}
        self._dropped: dict[str, int] = {}
        self.sent = self.answered = self.wrong_stamps = 0
        self.latencies_ms: list[float] = []

    @property
    def dropped(self) -> int:
        """Frames that the node says it dropped, of all cameras and reasons."""
        return sum(self._dropped.values())

    def change(self) -> None:
        """Draw rates, sizes and what is listened to anew."""
        for camera in CAMERAS:
            self._rates[camera] = self._rate / len(CAMERAS) * self._random.choice((0.25, 0.5, 1.0, 2.0))
            self._sizes[camera] = self._random.choice(SIZES)
            self._due[camera] = time.monotonic()
            for output in OUTPUTS:
                self._listen(camera, output, self._random.random() < 0.6)

    def run(self, seconds: float) -> None:
        """Send and listen."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for camera in CAMERAS:
                if now >= self._due[camera]:
                    self._send(camera)
                    self._due[camera] = max(now, self._due[camera] + 1 / self._rates[camera])
            self._executor.spin_once(timeout_sec=max(0.0, min(end, *self._due.values()) - time.monotonic()))

    def _listen(self, camera: str, output: str, wanted: bool) -> None:
        key = (camera, output)
        if wanted and key not in self._heard:
            topic = f"/m2a/output/{camera}/{output}"
            self._heard[key] = self._node.create_subscription(Image, topic, partial(self._take, camera), 5)
        elif not wanted and key in self._heard:
            self._node.destroy_subscription(self._heard.pop(key))

    def _send(self, camera: str) -> None:
        height, width = self._sizes[camera]
        image, info = self._pictures[height, width]
        stamp = self._node.get_clock().now()
        image.header.stamp = info.header.stamp = stamp.to_msg()
        image.header.frame_id = info.header.frame_id = f"{camera}_optical"
        self._sent_at[camera].append((stamp.nanoseconds, time.monotonic_ns()))
        self._infos[camera].publish(info)
        self._images[camera].publish(image)
        self.sent += 1

    def _take(self, camera: str, message: Image) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        began = next((at for sent, at in self._sent_at[camera] if sent == stamp), None)
        if began is None or message.header.frame_id != f"{camera}_optical":
            self.wrong_stamps += 1
            return
        self.answered += 1
        self.latencies_ms.append((time.monotonic_ns() - began) / 1e6)

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            head, _, camera = status.name.rpartition(": camera ")
            if head:
                drops = (int(p.value) for p in status.values if p.key.startswith("dropped."))
                self._dropped[camera] = sum(drops)


def _picture(size: tuple[int, int]) -> tuple[Image, CameraInfo]:
    """Sky, road and a red object, in the colours that the small model of the tests knows."""
    height, width = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2], pixels[height // 2 :] = (0, 0, 255), (0, 255, 0)
    pixels[height * 2 // 3 : height * 5 // 6, width // 2 : width * 5 // 8] = (255, 0, 0)
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.data.frombytes(pixels.tobytes())
    matrix = [float(width), 0.0, width / 2, 0.0, float(width), height / 2, 0.0, 0.0, 1.0]
    return image, CameraInfo(height=height, width=width, k=matrix, distortion_model="plumb_bob", d=[0.0] * 5)


def sample(drive: Drive, process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """One row; latencies of the answers since the last one."""
    folder = Path(f"/proc/{process.pid}")
    latencies, drive.latencies_ms = drive.latencies_ms or [float("nan")], []
    return {
        "seconds": round(seconds, 1),
        "rss_mib": round(resident_mib(process.pid), 2),
        "files": len(list((folder / "fd").iterdir())),
        "threads": len(list((folder / "task").iterdir())),
        "sent": drive.sent,
        "answered": drive.answered,
        "dropped": drive.dropped,
        "wrong_stamps": drive.wrong_stamps,
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p99_ms": round(float(np.percentile(latencies, 99)), 1),
    }


def slope_per_hour(rows: list[dict[str, float]], key: str) -> float:
    """Least-squares slope over the second half, per hour; 0 with fewer than four rows."""
    half = rows[len(rows) // 2 :]
    if len(half) < 4:
        return 0.0
    hours = np.array([row["seconds"] for row in half]) / 3600
    return float(np.polyfit(hours, [row[key] for row in half], 1)[0])


def summary_of(rows: list[dict[str, float]], alive: bool) -> dict[str, Any]:
    """Totals, slopes, and whether the node held."""
    slopes = {key: round(slope_per_hour(rows, key), 3) for key in ("rss_mib", "files", "threads")}
    limits = {"rss_mib": MAX_MIB_PER_HOUR, "files": MAX_FILES_PER_HOUR, "threads": MAX_THREADS_PER_HOUR}
    last = rows[-1]
    held = alive and not last["wrong_stamps"] and all(slopes[key] <= limits[key] for key in limits)
    return {
        "hours": round(last["seconds"] / 3600, 3),
        "sent": last["sent"],
        "answers": last["answered"],
        "dropped": last["dropped"],
        "wrong_stamps": last["wrong_stamps"],
        "p99_ms_worst": float(np.nanmax([row["p99_ms"] for row in rows])),
        "p99_ms_median": float(np.nanmedian([row["p99_ms"] for row in rows])),
        "rss_mib": [rows[0]["rss_mib"], last["rss_mib"]],
        "slope_per_hour": slopes,
        "limits_per_hour": limits,
        "node_alive": alive,
        "held": bool(held),
    }


def draw(rows: list[dict[str, float]]) -> str:
    """Memory, handles and latency over the hours, as one SVG."""
    hours = np.array([row["seconds"] for row in rows]) / 3600
    column = {key: np.array([row[key] for row in rows], float) for key in COLUMNS}
    x = Axis("hours", 0)
    return standalone(
        [
            line_chart("Memory of the node", [Series("", hours, column["rss_mib"])], x, Axis("MiB", 0)),
            line_chart(
                "Files and threads of the node",
                [Series("files", hours, column["files"]), Series("threads", hours, column["threads"])],
                x,
                Axis("number", 0),
            ),
            line_chart(
                "Latency, camera to listener",
                [Series("p50", hours, column["p50_ms"]), Series("p99", hours, column["p99_ms"])],
                x,
                Axis("ms", 0),
            ),
        ]
    )


def main() -> int:
    """Drive for so many hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=8.0, help="frames a second of all cameras, in the mean")
    parser.add_argument("--every", type=float, default=10.0, metavar="S", help="between samples")
    parser.add_argument("--model", default="", help="bundle (default: the small deterministic one of the tests)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/soak"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(local_environment(os.environ), ROS_DOMAIN_ID=str(free_domain()))
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, (args.out / "samples.csv").open("w", newline="") as file:
        model = args.model or str(write_tiny_bundle(Path(folder) / "tiny"))
        parameters = {"model": model, "threads": 1, "cameras": list(CAMERAS), "extrinsics": "parameters"}
        settings = Path(folder) / "node.yaml"
        settings.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        command = [sys.executable, "-m", "m2a_ros.node.main", "--ros-args", "--params-file", str(settings)]
        process = subprocess.Popen(command, stdout=(args.out / "node.log").open("w"), stderr=subprocess.STDOUT)
        rclpy.init(args=[])
        drive = Drive(args.rate, args.seed)
        drive.change()
        ready = time.monotonic() + _READY_S
        while not drive.answered and process.poll() is None and time.monotonic() < ready:
            drive.run(0.5)
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        start = changed = time.monotonic()
        with tqdm(total=args.hours, unit="h", disable=not sys.stderr.isatty()) as bar:
            while (seconds := time.monotonic() - start) < 3600 * args.hours and process.poll() is None:
                if time.monotonic() - changed >= PHASE_S:
                    changed = time.monotonic()
                    drive.change()
                drive.run(args.every)
                if process.poll() is None:
                    rows.append(sample(drive, process, time.monotonic() - start))
                    writer.writerow(rows[-1])
                    file.flush()
                bar.update((time.monotonic() - start - seconds) / 3600)
        alive = process.poll() is None
        process.send_signal(signal.SIGINT)
        process.wait(20)
    found = summary_of(rows, alive)
    (args.out / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    (args.out / "soak.svg").write_text(draw(rows), encoding="utf-8")
    print(json.dumps(found, indent=2))
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
