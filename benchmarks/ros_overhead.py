"""What the ROS side of the node costs: CPU per frame, lost frames, memory, the share of a frame that is no inference.

Camera, node and listener are processes of their own over DDS; the listener subscribes to every output, or to those that
are named. Sides:

- ``constant``: the node with the network and its heads replaced by one constant result. Wanted: <= 12 ms of CPU per
  1080p frame (all threads of the process, DDS included) and no loss at 30 Hz.
- ``bare``: a plain rclpy node that takes the image and publishes messages of the same sizes, filled once before: what
  rclpy and DDS cost whatever a node does.
- ``usual``: the same result published by a plain rclpy node that assigns arrays to ``msg.data``.
- ``model``: the node with a model bundle. Wanted: <= 15 % of the frame time is not inference.

    python benchmarks/ros_overhead.py --rate 30 --frames 900                    # constant and usual, with their ratio
    python benchmarks/ros_overhead.py --side constant --side bare               # the share that is the middleware's
    python benchmarks/ros_overhead.py --overlay-width 0 # the node's overlay as large as the other's
    python benchmarks/ros_overhead.py --side constant --rate 60 --frames 20000  # memory over a long run
    python benchmarks/ros_overhead.py --side model --rate 5 --frames 100
    python benchmarks/ros_overhead.py --side model --rate 5 --output open_set_mask --output unknown_markers

Each side prints one line of JSON. ``cpu_ms_per_frame`` is the CPU time of the node's process over the measured frames,
timers and discovery included, by frame answered; ``received`` the frames that reached the node (sent minus received got
lost on the way, received minus answered was replaced by a newer frame); ``rss_mib`` its memory before and after;
``outputs`` what the listener got on each topic; ``reached_hz`` the rate that the camera kept up. The usual way takes
seconds per frame: it answers few, and is judged by those.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.answering import AnsweringProcess
from benchmarks.ros_overhead_roles import OUTPUTS

SIDES = ("constant", "bare", "usual", "model")
PLAIN = ("bare", "usual")
"""Sides without diagnostics, which count the frames received."""
WARM_UP_ROUNDS = 60


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(side: str, args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run one side."""
    children: list[AnsweringProcess] = []
    try:
        for role in (side, "listener", "camera"):
            size = (str(args.height), str(args.width), args.model, str(args.overlay_width))
            log = folder / f"{side}.{role}.log"
            module = "benchmarks.ros_overhead_roles"
            children.append(AnsweringProcess(module, (role, *size, *args.outputs), log, args.domain))
        node, listener, camera = children
        for _ in range(WARM_UP_ROUNDS):
            camera.ask(f"{args.rate} {max(1, round(args.rate))}")
            if listener.ask("report")[args.outputs[0]]:
                break
        else:
            raise SystemExit(f"no answer; node log:\n{node.log.read_text()}")
        listener.ask("settle")
        before, cpu, memory = listener.ask("reset"), cpu_seconds(node.process.pid), resident_mib(node.process.pid)
        sent = camera.ask(f"{args.rate} {args.frames}")
        found = listener.ask("settle")
        used = cpu_seconds(node.process.pid) - cpu
        answered = int(found[args.outputs[0]])
        return {
            "side": side,
            "size": f"{args.width}x{args.height}",
            "rate_hz": args.rate,
            "reached_hz": sent["rate_hz"],
            "sent": int(sent["sent"]),
            **({} if side in PLAIN else {"received": int(found["received"])}),
            "answered": answered,
            "warm_up_answers": int(before[args.outputs[0]]),
            "cpu_ms_per_frame": round(1e3 * used / max(1, answered), 2),
            "rss_mib": [round(memory, 1), round(resident_mib(node.process.pid), 1)],
            "outputs": {name: int(found[name]) for name in found if name != "received" and not name.endswith("_ms")},
            **(
                {"not_inference_share": round(found["not_inference_ms"] / found["frame_ms"], 4)}
                if side == "model" and found["frame_ms"]
                else {}
            ),
        }
    finally:
        for child in reversed(children):
            child.stop()


def main() -> None:
    """Run the sides and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, action="append", help="repeatable; default: constant and usual")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second")
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--model", default="m2a-edge", help="bundle of the side 'model'")
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        action="append",
        dest="outputs",
        metavar="NAME",
        help=f"subscribe to this one; repeatable; default: all of {', '.join(OUTPUTS)}",
    )
    parser.add_argument("--overlay-width", type=int, default=960, help="overlay.max_width of the node; 0: full size")
    parser.add_argument("--domain", type=int, default=97, help="ROS domain to be alone in")
    args = parser.parse_args()
    args.outputs = args.outputs or list(OUTPUTS)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in args.side or ("constant", "usual"):
            results[side] = measure(side, args, Path(folder))
            print(json.dumps(results[side]), flush=True)
    if {"constant", "usual"} <= results.keys():
        ours, theirs = (float(str(results[side]["cpu_ms_per_frame"])) for side in ("constant", "usual"))
        print(f"CPU per frame, the usual way : the node = {theirs / ours:.1f} : 1")


if __name__ == "__main__":
    main()
