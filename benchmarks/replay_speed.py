"""What mode offline costs beside the network, and how fast bags are read.

A bag of raw images is made of the demo's clip. Then, turn about so that a machine that slows down hits both alike:

- ``pure``: the same images, decoded beforehand, through the model and its heads in a loop, and nothing else;
- ``offline``: ``m2a replay --mode offline`` on the bag, from the open model to the last file in place: reading,
  decoding, inference, hashes, output bag, overlays and video. Wanted: at most 1.05 times ``pure``;
- ``read``: all messages of the bag, serialised, from the page cache. Wanted: at least 1 GB/s.

    python benchmarks/replay_speed.py --repeats 3

The work beside the network needs a core of its own: ``--threads`` is one less than the machine has, so that both sides
have the same. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

from rosbags.rosbag2 import StoragePlugin, Writer

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.compose.clip import load_clip
from m2a_core.perception import Perception
from m2a_core.runtime.factory import create_runtime
from m2a_core.tracking.update import LOW_THRESHOLD
from m2a_core.types import Frame
from m2a_ros.bag.cameras import choose
from m2a_ros.bag.frames import load_frames
from m2a_ros.bag.reader import IMAGE, TYPESTORE, Bag
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.parameters.file import settings_of
from m2a_ros.process.shared_files import shared_file
from m2a_ros.replay.offline import replay_offline
from m2a_ros.replay.recorder import BagRecorder

START_NS, STEP_NS = 1_700_000_000_000_000_000, 40_000_000
WANTED = frozenset(spec.output for spec in MAPS)
HELD_FRAMES = 30
WARM_UP = 3


def make_bag(path: Path, count: int) -> None:
    """Write ``count`` raw images of the demo's clip."""
    clip = load_clip(shared_file("config/demo/clip.yaml").parent)
    types = TYPESTORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/front/image_raw", IMAGE, typestore=TYPESTORE)
        for number in range(count):
            image, stamp = clip.image(number % len(clip)), START_NS + number * STEP_NS
            sec, nanosec = divmod(stamp, 1_000_000_000)
            time_type = types["builtin_interfaces/msg/Time"]
            header = types["std_msgs/msg/Header"](stamp=time_type(sec=sec, nanosec=nanosec), frame_id="front")
            height, width = image.shape[:2]
            message = types[IMAGE](
                header=header,
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=image.reshape(-1),
            )
            writer.write(connection, stamp, TYPESTORE.serialize_cdr(message, IMAGE))


def read_all(path: Path) -> tuple[float, int]:
    """Seconds and bytes of reading all messages."""
    start, size = time.perf_counter(), 0
    with Bag(path) as bag:
        for _, _, data in bag.messages(bag.connections):
            size += len(data)
    return time.perf_counter() - start, size


def infer_all(perception: Perception, frames: list[Frame], count: int) -> float:
    """Seconds that the model takes for ``count`` images."""
    start = time.perf_counter()
    for number in range(count):
        perception.infer(frames[number % len(frames)], WANTED)
    return time.perf_counter() - start


def replay_all(path: Path, perception: Perception, out: Path) -> float:
    """Seconds that mode offline takes for the bag, to its last file."""
    manifest = perception.manifest
    start = time.perf_counter()
    with Bag(path) as bag:
        choice = choose(bag, {})
        cameras = tuple(topic.camera for topic in choice.used)
        with BagRecorder(out, out / "parts", cameras, manifest.labels, manifest.thresholds.anomaly) as recorder:
            settings = settings_of({}, list(cameras), "replay_speed")
            replay_offline(bag, choice.used, perception, settings, False, recorder, lambda _: None)
            recorder.finish({})
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    args = parser.parse_args()
    bundle = load_bundle(args.model)
    perception = Perception(bundle.manifest, create_runtime(bundle, "onnxruntime", args.threads), LOW_THRESHOLD)
    pure, offline, reading = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag"
        make_bag(path, args.frames)
        with Bag(path) as bag:
            loaded = [item.content for item in islice(load_frames(bag, choose(bag, {}).used), HELD_FRAMES)]
        frames = [frame for frame in loaded if isinstance(frame, Frame)]
        infer_all(perception, frames, WARM_UP)
        for turn in range(args.repeats):
            seconds, size = read_all(path)
            reading.append(size / seconds / 1e9)
            pure.append(infer_all(perception, frames, args.frames))
            offline.append(replay_all(path, perception, Path(folder) / f"out_{turn}"))
    ratios = [whole / part for whole, part in zip(offline, pure, strict=True)]
    print(
        json.dumps(
            {
                "frames": args.frames,
                "threads": args.threads,
                "pure_ms_per_frame": round(1e3 * median(pure) / args.frames, 2),
                "offline_ms_per_frame": round(1e3 * median(offline) / args.frames, 2),
                "offline_over_pure": round(median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "read_gb_per_s": [round(rate, 2) for rate in reading],
            }
        )
    )


if __name__ == "__main__":
    main()
