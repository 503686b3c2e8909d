"""The node in real time with an accelerator of a given speed: answers, latency, processor time, what holds it back.

The accelerator is a stand-in that is named so (benchmarks/stand_in.py): it sleeps, and gives the shipped network's
answer of one image. Everything else is real: the node, its heads and outputs, cameras and listener as processes of
their own over DDS.

    python benchmarks/real_time.py --stand-in-ms 20 --cameras 1 --rate 30 --size 1920x1080 --outputs all \
        --resolution network --seconds 10 --json out.json
    python benchmarks/real_time.py --stand-in-ms 20 --stand-in-batch-ms 30,50 --cameras 4 --rate 15 --size 1280x720
    python benchmarks/real_time.py --stand-in-ms 20 --side usual        # a node written the usual way
    python benchmarks/real_time.py --stand-in-ms 20 --outputs none      # nobody listens
    python benchmarks/real_time.py --stand-in-ms 20 --camera-graph      # letterbox and mask on the accelerator
    python benchmarks/real_time_bars.py                                 # every bar, one table

Keys of the JSON: ``sent``, ``received`` (frames that reached the node), ``answered`` (frames of which every output
came), ``published_hz``, ``latency_ms`` (from the image's stamp to the last of its outputs; p50, p95, p99),
``cpu_ms_per_frame`` (the node's process, all threads), ``others_cpu_ms_per_frame`` (camera and listener),
``accelerator_busy_share`` (of the measured time), ``batch_size`` (mean) and ``dropped`` (by reason, from the node's
diagnostics). With ``--outputs none``: ``core_share`` of the node and, side by side, of a process that takes the same
messages and does nothing (``bare``).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.answering import AnsweringProcess
from benchmarks.ros_overhead import cpu_seconds, resident_mib
from benchmarks.stand_in import BusyTime

MAPS = ("anomaly_map", "open_set_mask", "panoptic", "unknown_instances")
OUTPUTS = (*MAPS, "unknown_markers", "overlay", "overlay_compressed")
_READY_S = 90.0
_WARM_UP_S = 2.0


class Role(AnsweringProcess):
    """A process of the benchmark that is given orders; see benchmarks/real_time_roles.py."""

    def __init__(self, name: str, settings: dict[str, Any], folder: Path) -> None:
        """Start it, its messages going to a log."""
        arguments = (name, json.dumps(settings))
        super().__init__("benchmarks.real_time_roles", arguments, folder / f"{name}.log", settings["domain"])

    def order(self, **order: Any) -> dict[str, Any]:
        """Send an order and wait for its answer."""
        return self.ask(json.dumps(order))


def measure(side: str, settings: dict[str, Any], seconds: float, folder: Path) -> dict[str, Any]:
    """Run one side."""
    busy_file = folder / "busy"
    settings = {**settings, "busy_file": str(busy_file)}
    roles: list[Role] = []
    try:
        node = Role(side, settings, folder)
        roles.append(node)
        listener = Role("listener", settings, folder)
        roles.append(listener)
        camera = Role("camera", settings, folder)
        roles.append(camera)
        deadline = time.monotonic() + _READY_S
        while True:
            camera.order(seconds=1.0)
            if listener.order(report=True)["answered"]:
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"no answer; the node says:\n{node.log.read_text()[-3000:]}")
        camera.order(seconds=_WARM_UP_S)
        listener.order(settle=1.0)
        busy = BusyTime(busy_file, create=False)
        listener.order(reset=True)
        before = [cpu_seconds(role.process.pid) for role in roles]
        memory, work, start = resident_mib(node.process.pid), busy.read(), time.monotonic()
        sent = camera.order(seconds=seconds)
        elapsed, after = time.monotonic() - start, busy.read()
        found = listener.order(settle=1.5)
        used = [cpu_seconds(role.process.pid) - then for role, then in zip(roles, before, strict=True)]
        costs = [round(1e3 * seconds / max(1, found["answered"]), 2) for seconds in used]
        latencies = np.array(found["latencies_ms"] or [np.nan])
        images, batches = after[1] - work[1], after[2] - work[2]
        return {
            "side": side,
            "sent": sent["sent"],
            "received": found["received"],
            "answered": found["answered"],
            "answered_share": round(found["answered"] / max(1, sent["sent"]), 4),
            "published_hz": round(found["answered"] / elapsed, 2),
            "latency_ms": {f"p{p}": _number(np.nanpercentile(latencies, p)) for p in (50, 95, 99)},
            "cpu_ms_per_frame": costs[0],
            "others_cpu_ms_per_frame": {"listener": costs[1], "camera": costs[2]},
            "accelerator_busy_share": round((after[0] - work[0]) / elapsed, 4),
            "batch_size": round(images / batches, 2) if batches else None,
            "dropped": found["dropped"],
            "rss_mib": [round(memory, 1), round(resident_mib(node.process.pid), 1)],
            "stages_ms": found["stages_ms"],
        }
    finally:
        for role in reversed(roles):
            role.stop()


def measure_idle(settings: dict[str, Any], seconds: float, folder: Path) -> dict[str, Any]:
    """Let the node, to which nobody listens, and a process that only takes its messages run side by side."""
    settings = {**settings, "outputs": [], "busy_file": str(folder / "busy")}
    roles: dict[str, Role] = {}
    try:
        for name in ("node", "bare", "listener", "camera"):
            roles[name] = Role(name, settings, folder)
        deadline = time.monotonic() + _READY_S
        while not roles["listener"].order(report=True)["received"]:
            roles["camera"].order(seconds=1.0)
            if time.monotonic() > deadline:
                raise SystemExit(f"the node gets no images; it says:\n{roles['node'].log.read_text()[-3000:]}")
        roles["camera"].order(seconds=_WARM_UP_S)
        roles["listener"].order(settle=1.0, reset=True)
        processes = {name: roles[name].process.pid for name in ("node", "bare")}
        before, start = {name: cpu_seconds(pid) for name, pid in processes.items()}, time.monotonic()
        sent = roles["camera"].order(seconds=seconds)
        elapsed = time.monotonic() - start
        shares = {name: (cpu_seconds(pid) - before[name]) / elapsed for name, pid in processes.items()}
        found = roles["listener"].order(settle=1.5)
        return {
            "side": "nobody listens",
            "sent": sent["sent"],
            "received": found["received"],
            "dropped": found["dropped"],
            "core_share": {name: round(share, 4) for name, share in shares.items()},
            "core_share_beside_the_middleware": round(shares["node"] - shares["bare"], 4),
        }
    finally:
        for role in reversed(roles.values()):
            role.stop()


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 2)


def parse_outputs(text: str) -> list[str]:
    """``all``, ``maps``, ``none``, or names with commas between them."""
    if text == "none":
        return []
    names = {"all": list(OUTPUTS), "maps": list(MAPS)}.get(text) or [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise SystemExit(f"--outputs {text}: {unknown} not among {', '.join(OUTPUTS)}, all, maps, none")
    return names


def parse_times(single_ms: float, batches: str) -> dict[int, float]:
    """Milliseconds by batch size: 1, then 2, 4, 8 ... as listed."""
    times = [single_ms, *_numbers("--stand-in-batch-ms", batches, [part for part in batches.split(",") if part], float)]
    return {2**power: value for power, value in enumerate(times)}


def _numbers(option: str, text: str, parts: Sequence[str], kind: type[int] | type[float]) -> list[Any]:
    try:
        return [kind(part) for part in parts]
    except ValueError as error:
        raise SystemExit(f"{option} {text}: expected numbers") from error


def _require_positive(args: argparse.Namespace, size: Sequence[int], times: Mapping[int, float]) -> None:
    given = {"--cameras": args.cameras, "--rate": args.rate, "--seconds": args.seconds}
    wrong = [f"{option} {value}" for option, value in given.items() if not 0 < value < math.inf]
    wrong += [] if len(size) == 2 and min(size) > 0 else [f"--size {args.size}"]
    wrong += [f"stand-in of {value} ms" for value in times.values() if not 0 <= value < math.inf]
    if wrong:
        raise SystemExit(f"{', '.join(wrong)}: expected numbers above 0 (a stand-in may take 0 ms)")


def main() -> None:
    """Run the sides and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stand-in-ms", type=float, default=20.0, help="the stand-in's time for one image")
    parser.add_argument(
        "--stand-in-batch-ms", default="", metavar="A,B,C", help="its time for 2, 4, 8 ... images at once"
    )
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second and camera")
    parser.add_argument("--size", default="1920x1080", metavar="WIDTHxHEIGHT")
    parser.add_argument("--outputs", default="all", help=f"all, maps, none, or some of {', '.join(OUTPUTS)}")
    parser.add_argument("--resolution", default="image", help="output.resolution: image, network or WIDTHxHEIGHT")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--side", choices=("node", "usual", "both"), default="node")
    parser.add_argument("--horizon", action="store_true", help="with the second look at the road's far end")
    parser.add_argument(
        "--camera-graph",
        action="store_true",
        help="a model that takes the cameras' own images, see `m2a export --camera`",
    )
    parser.add_argument("--domain", type=int, default=96, help="ROS domain to be alone in")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures there")
    args = parser.parse_args()
    size = _numbers("--size", args.size, args.size.lower().split("x"), int)
    times = parse_times(args.stand_in_ms, args.stand_in_batch_ms)
    _require_positive(args, size, times)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "cameras": [f"camera{number}" for number in range(args.cameras)],
        "rate": args.rate,
        "size": size[::-1],
        "outputs": parse_outputs(args.outputs),
        "resolution": args.resolution,
        "horizon": args.horizon,
        "camera_graph": args.camera_graph,
        "milliseconds": times,
        "domain": args.domain,
    }
    results = []
    for side in ("node", "usual") if args.side == "both" else (args.side,):
        with tempfile.TemporaryDirectory() as folder:
            if settings["outputs"]:
                results.append(measure(side, settings, args.seconds, Path(folder)))
            else:
                results.append(measure_idle(settings, args.seconds, Path(folder)))
        print(json.dumps(results[-1]), flush=True)
    record = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "settings": settings}
    if args.json:
        flat = results[0] if len(results) == 1 else {side["side"]: side for side in results}
        args.json.write_text(json.dumps({**record, **flat}, indent=2) + "\n")


if __name__ == "__main__":
    main()
