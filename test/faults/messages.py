"""Hostile sensor messages, by their bytes, into a node that is active and whose every output is heard."""

# ruff: noqa: SLF001 - a node's state is looked at from inside
from __future__ import annotations

import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from m2a_ros.node.node import M2aNode
from m2a_ros.process.dds import local_environment
from test.faults.mutation import mutated
from test.ros.harness import own_domain
from test.ros.in_process import Nodes
from test.ros.messages import scene
from test.tiny_bundle import write_tiny_bundle

CAMERAS = ("front", "rear", "side")
"""Raw; compressed and rectified; raw, cropped and with depth."""
MAX_PIXELS = 1_000_000
MAPS = ("anomaly_map", "open_set_mask", "panoptic", "unknown_instances")
ENCODINGS = (
    "rgb8", "bgr8", "mono8", "mono16", "rgba8", "bgra8", "rgb16", "bayer_rggb8", "bayer_gbrg16", "yuv422",
    "yuv422_yuy2",
    "nv12", "nv21", "nv24", "8UC3", "16UC1", "32FC1", "32FC3", "64FC4", "8UC999999999", "8UC0", "8SC3", "", "RGB8",
    "rgb8 ",
    "rgb8\0", "bgr8\n[ERROR] forged", "\x1b[2J", "jpeg", "h264", "compressedDepth", "%s%n", "../../etc/passwd",
    "é" * 300,    "x" * 100_000,
)  # fmt: skip
FORMATS = (
    "jpeg",
    "png",
    "bgr8; jpeg compressed bgr8",
    "mono16; png compressed ",
    "bayer_rggb8; png compressed ",
    "rgb8; png compressed rgb8",
    "16UC1; compressedDepth",
    "32FC1; compressedDepth png",
    "",
    ";",
    ";;;;",
    "jpg",
    "h265",
    "rgb8; jpeg compressed bgr8; jpeg",
    "\n\x1b",
    "x" * 100_000,
)
SIZES = (0, 1, 2, 3, 7, 64, 97, 128, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, -1e300, float("nan"), float("inf"), float("-inf"), 5e-324, 100.0)


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """A node, all of whose outputs a peer hears; gives what tries one message."""
    os.environ.update(local_environment(os.environ))
    with own_domain() as domain:
        rig = Nodes(domain, write_tiny_bundle(folder / "tiny", (48, 64)))
        try:
            yield _Bench(rig).case
        finally:
            rig.close()


class _Bench:
    def __init__(self, rig: Nodes) -> None:
        self._rig = rig
        self._node = rig.start(
            cameras=list(CAMERAS),
            max_image_pixels=MAX_PIXELS,
            extrinsics="parameters",
            camera__rear__transport="compressed",
            camera__rear__rectify=True,
            camera__side__crop=True,
            camera__front__transport="raw",
            camera__side__transport="raw",
            tracking__confirm_frames=1,
        )
        for camera in CAMERAS:
            for name in MAPS:
                rig.listen(f"/m2a/output/{camera}/{name}", Image)
            rig.listen(f"/m2a/output/{camera}/unknown_markers", MarkerArray)
            rig.listen(f"/m2a/debug/{camera}/overlay", Image)
            rig.listen(f"/m2a/debug/{camera}/overlay/compressed", CompressedImage)
        rig.until(lambda: all(len(self._pipeline(camera).outputs.wanted()) >= 4 for camera in CAMERAS))
        self._stamp = 1_000

    def case(self, rng: random.Random, number: int) -> str:
        """Send one hostile message, and a good one that meets what it left behind."""
        camera = rng.choice(CAMERAS)
        self._stamp += 2
        make = rng.choice((self._image, self._image, self._info, self._info, self._depth))
        outcome = make(rng, camera)
        self._healthy(camera)
        return outcome

    def _image(self, rng: random.Random, camera: str) -> str:
        if camera == "rear":
            self._feed(camera, "camera_info", serialize_message(_info(self._header())))
        message = _compressed(rng, self._header()) if camera == "rear" else _raw(rng, self._header())
        data = serialize_message(message)
        if rng.random() < 0.5:
            data = mutated(data, rng)
        return self._look_at(camera, data, type(message))

    def _info(self, rng: random.Random, camera: str) -> str:
        data = serialize_message(_hostile_info(rng, self._header()))
        if rng.random() < 0.5:
            data = mutated(serialize_message(_info(self._header())), rng)
        self._feed(camera, "camera_info", data)
        return f"camera_info, frame {self._look_at(camera, *self._good(camera))}"

    def _depth(self, rng: random.Random, camera: str) -> str:
        self._feed(camera, "camera_info", serialize_message(_info(self._header())))
        data = serialize_message(_hostile_depth(rng, self._header()))
        self._feed(camera, "depth", mutated(data, rng) if rng.random() < 0.5 else data)
        return f"depth, frame {self._look_at(camera, *self._good(camera))}"

    def _look_at(self, camera: str, data: bytes, kind: type) -> str:
        """Feed an image and compare what is published, if anything, with it."""
        before = self._statistics(camera)
        topics = {f"/m2a/output/{camera}/{name}": self._rig.received[f"/m2a/output/{camera}/{name}"] for name in MAPS}
        for heard in self._rig.received.values():
            heard.clear()
        self._feed(camera, "image", data)
        after = self._handled(camera)
        if after.published == before.published:
            reasons = [reason for reason, count in after.dropped.items() if count > before.dropped.get(reason, 0)]
            assert len(reasons) == 1, f"published nothing and counted {reasons}"
            assert not reasons[0].endswith("_error"), f"{reasons[0]}: {after.last_error}"
            assert len(after.last_error) < 2000
            assert after.last_error.isprintable(), after.last_error
            return "refused" if reasons[0] != "bad_image.unreadable" else "unreadable"
        message = deserialize_message(data, kind)
        self._rig.until(lambda: all(topics.values()))
        for name, heard in topics.items():
            (found,) = heard
            assert found.header == message.header, f"wrong stamp: {name}: {found.header}, sent {message.header}"
            if kind is Image and camera == "front":
                assert (found.height, found.width) == (message.height, message.width)
        return "answered"

    def _healthy(self, camera: str) -> None:
        """A good frame with a good calibration is answered, whatever came before."""
        self._stamp += 1
        self._feed(camera, "camera_info", serialize_message(_info(self._header())))
        outcome = self._look_at(camera, *self._good(camera))
        assert outcome == "answered", f"a good frame afterwards: {self._statistics(camera).last_error}"
        assert self._node._state_machine.current_state[1] == "active"

    def _good(self, camera: str) -> tuple[bytes, type]:
        rgb = scene((20, 50, 60, 80))
        if camera != "rear":
            raw = Image(header=self._header(), height=96, width=128, encoding="rgb8", step=384, data=rgb.tobytes())
            return serialize_message(raw), Image
        return serialize_message(
            CompressedImage(header=self._header(), format="png", data=_encoded(rgb, ".png"))
        ), CompressedImage

    def _feed(self, camera: str, what: str, data: bytes) -> None:
        """Hand bytes to the subscription's callback, as the executor does."""
        ending = {"image": ("/image", "/image/compressed")}.get(what, (f"/{what}",))
        subscriptions = self._node.inputs[camera]._subscriptions
        taking = next(s for s in subscriptions if s.topic_name.endswith(ending))
        taking.callback(data)

    def _handled(self, camera: str) -> Any:
        deadline = time.monotonic() + 25.0
        while time.monotonic() < deadline:
            seen = self._statistics(camera)
            if seen.received == seen.published + sum(seen.dropped.values()):
                return seen
            time.sleep(0.001)
        raise AssertionError(f"a frame is neither published nor counted: {self._statistics(camera)}")

    def _statistics(self, camera: str) -> Any:
        return self._node.statistics[camera].snapshot()

    def _pipeline(self, camera: str) -> Any:
        node: M2aNode = self._node
        return node.pipelines[camera]

    def _header(self) -> Header:
        return Header(stamp=Time(sec=self._stamp, nanosec=7), frame_id="optical")


def _raw(rng: random.Random, header: Header) -> Image:
    """Fields that contradict each other, or, now and then, an image of an odd size."""
    height, width = (rng.choice((1, 2, 3, 17, 64, 96, 130)) for _ in range(2))
    encoding, channels = rng.choice((("rgb8", 3), ("mono8", 1), ("bgra8", 4), ("mono16", 2), ("bayer_grbg8", 1)))
    step = channels * width
    data = rng.randbytes(height * step)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        match rng.randrange(6):
            case 0:
                height = rng.choice(SIZES)
            case 1:
                width = rng.choice(SIZES)
            case 2:
                step = rng.choice(SIZES)
            case 3:
                encoding = rng.choice(ENCODINGS).replace("\0", "")
            case 4:
                data = rng.choice((b"", data[:-1], data + b"\0", data[: len(data) // 2], 3 * data))
            case 5:
                header.frame_id = rng.choice(("", "\n", "x" * 10_000, "/slash", "é\u202e"))
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        data=data,
        is_bigendian=rng.choice((0, 0, 0, 1, 255)),
    )


def _compressed(rng: random.Random, header: Header) -> CompressedImage:
    shape = [(96, 128), (1, 1), (33, 250), (480, 640)][rng.randrange(4)]
    rgb = np.full((*shape, 3), rng.randrange(256), np.uint8)
    data = rng.choice((_encoded(rgb, ".png"), _encoded(rgb, ".jpg"), _progressive(rgb)))
    match rng.randrange(8):
        case 0 | 1 | 2:
            data = mutated(data, rng)
        case 3:
            data = png_claiming(rng.choice(SIZES), rng.choice(SIZES), rng)
        case 4:
            data = jpeg_claiming(data if data[:2] == b"\xff\xd8" else _encoded(rgb, ".jpg"), rng)
        case 5:
            data = rng.choice((_encoded(rgb, ".bmp"), _encoded(rgb, ".tiff"), _encoded(rgb, ".webp"), b"GIF89a", b""))
        case 6:
            data += rng.randbytes(rng.choice((1, 5000)))
    return CompressedImage(header=header, format=rng.choice(FORMATS), data=data)


def _encoded(rgb: np.ndarray, ending: str) -> bytes:
    data: bytes = cv2.imencode(ending, np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    return data


def _progressive(rgb: np.ndarray) -> bytes:
    data: bytes = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    return data


def png_claiming(width: int, height: int, rng: random.Random) -> bytes:
    """A PNG with right checksums whose header claims a size; its few bytes unpack to many."""
    depth, color = rng.choice(((1, 0), (8, 2), (16, 6), (8, 3), (8, 7), (3, 0)))
    body = zlib.compress(bytes(rng.choice((10, 1_000_000))))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, rng.choice((0, 0, 1, 2)))
    parts = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    if rng.random() < 0.3:
        parts.insert(1, (rng.choice((b"iCCP", b"zTXt", b"PLTE", b"eXIf", b"tRNS")), rng.randbytes(90)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def jpeg_claiming(jpeg: bytes, rng: random.Random) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    size = struct.pack(">HH", rng.choice((0, 1, 9, 1000, 65500)), rng.choice((0, 1, 9, 1000, 65500)))
    return jpeg[: at + 5] + size + jpeg[at + 9 :] if at > 0 else jpeg


def _info(header: Header) -> CameraInfo:
    k = [90.0, 0.0, 64.0, 0.0, 90.0, 48.0, 0.0, 0.0, 1.0]
    p = [90.0, 0.0, 64.0, 0.0, 0.0, 90.0, 48.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return CameraInfo(
        header=header,
        width=128,
        height=96,
        distortion_model="plumb_bob",
        d=[0.01, 0.0, 0.0, 0.0, 0.0],
        k=k,
        p=p,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    )


def _hostile_info(rng: random.Random, header: Header) -> CameraInfo:
    info = _info(header)
    for _ in range(rng.choice((1, 1, 2, 4))):
        match rng.randrange(8):
            case 0:
                info.k[rng.randrange(9)] = rng.choice(NUMBERS)
            case 1:
                info.p[rng.randrange(12)] = rng.choice(NUMBERS)
            case 2:
                info.r[rng.randrange(9)] = rng.choice(NUMBERS)
            case 3:
                info.d = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 4, 5, 8, 12, 14, 15, 1000)))]
            case 4:
                info.width, info.height = rng.choice(SIZES), rng.choice(SIZES)
            case 5:
                info.distortion_model = rng.choice(
                    ("", "equidistant", "rational_polynomial", "fisheye", "x" * 5000, "\n")
                )
            case 6:
                info.binning_x, info.binning_y = rng.choice(SIZES), rng.choice(SIZES)
            case 7:
                x, y, w, h = (rng.choice(SIZES) for _ in range(4))
                info.roi = RegionOfInterest(x_offset=x, y_offset=y, width=w, height=h, do_rectify=rng.random() < 0.5)
    return info


def _hostile_depth(rng: random.Random, header: Header) -> Image:
    kind, size = rng.choice((("16UC1", 2), ("32FC1", 4), ("mono16", 2), ("rgb8", 3), ("32FC3", 12), ("", 1)))
    height, width = rng.choice(((96, 128), (48, 64), (1, 1), (0, 0), (96, 1), (0xFFFFFFFF, 2)))
    values = np.array([rng.choice((*NUMBERS, 5.0, 20.0)) for _ in range(64)], np.float32).tobytes()
    length = min(height * width * size, 200_000)
    data = (values * (length // len(values) + 1))[:length]
    header.frame_id = rng.choice((header.frame_id, "another", ""))
    return Image(
        header=header, height=height, width=width, encoding=kind, step=min(width * size, 0xFFFFFFFF), data=data
    )
