"""All bars of the node in real time, one table: needs a machine with nothing else to do, for three minutes.

    python benchmarks/real_time_bars.py [--seconds 10] [--only WORD] [--json OUT]

The accelerator is the stand-in of benchmarks/real_time.py, 20 ms for one image, 30 for two, 50 for four. It stands for
the bundle's graph; in cases named "camera's graph" for one with letterbox and mask in it (`m2a export --camera`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.real_time import OUTPUTS, measure, measure_idle

STAND_IN_MS = {1: 20.0, 2: 30.0, 4: 50.0}
FULL_HD, HD = [1080, 1920], [720, 1280]


@dataclass(frozen=True)
class Bar:
    """A limit of one figure.

    Attributes:
        what: the figure in words.
        value: takes it from a result.
        limit: that it must reach.
        least: whether it is the least allowed; else the most.
    """

    what: str
    value: Callable[[dict[str, Any]], float]
    limit: float
    least: bool = False

    def text(self, result: dict[str, Any]) -> str:
        """The figure beside its limit."""
        value = self.value(result)
        met = value >= self.limit if self.least else value <= self.limit
        return f"{self.what} {value:.4g} ({'>=' if self.least else '<='} {self.limit:g}: {'met' if met else 'MISSED'})"


@dataclass(frozen=True)
class Case:
    """A run and its bars."""

    name: str
    settings: dict[str, Any]
    bars: tuple[Bar, ...]


def case(name: str, *bars: Bar, cameras: int = 1, rate: float = 30.0, **settings: Any) -> Case:
    """A case of 1080p, every output, one camera, unless said otherwise."""
    usual = {
        "cameras": [f"camera{number}" for number in range(cameras)],
        "rate": rate,
        "size": FULL_HD,
        "outputs": list(OUTPUTS),
        "resolution": "image",
        "horizon": False,
        "milliseconds": STAND_IN_MS if cameras > 1 else {1: STAND_IN_MS[1]},
    }
    return Case(name, usual | settings, bars)


def answered(limit: float) -> Bar:
    """Share of the frames that were answered."""
    return Bar("answered", lambda result: float(result["answered_share"]), limit, least=True)


CPU = Bar("CPU ms a frame", lambda result: float(result["cpu_ms_per_frame"]), 12.0)
P95 = Bar("p95 ms", lambda result: float(result["latency_ms"]["p95"] or float("nan")), 60.0)
BUSY = Bar("busy", lambda result: float(result["accelerator_busy_share"]), 0.95 * 30 * STAND_IN_MS[1] / 1e3, least=True)
IDLE = Bar("core beside the middleware", lambda result: float(result["core_share_beside_the_middleware"]), 0.01)
FEW = ["open_set_mask", "unknown_markers"]
CASES = (
    case("1080p 30 Hz, network resolution, all", answered(0.99), P95, CPU, BUSY, resolution="network"),
    case("1080p 30 Hz, image resolution, mask and markers", answered(0.99), outputs=FEW),
    case("1080p 30 Hz, image resolution, all", answered(0.85)),
    case("camera's graph, network resolution, all", answered(0.99), P95, CPU, resolution="network", camera_graph=True),
    case("camera's graph, image resolution, mask and markers", answered(0.99), outputs=FEW, camera_graph=True),
    case("camera's graph, image resolution, all", answered(0.85), camera_graph=True),
    case(
        "four 720p at 15 Hz, network resolution, mask and markers",
        answered(0.95),
        cameras=4,
        rate=15.0,
        size=HD,
        outputs=FEW,
        resolution="network",
    ),
    case(
        "four 1080p at 10 Hz, network resolution, mask and markers",
        answered(0.95),
        cameras=4,
        rate=10.0,
        outputs=FEW,
        resolution="network",
    ),
    case("1080p 30 Hz, nobody listens", IDLE, outputs=[]),
)


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case, beside some 12 for its start")
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has this in it")
    parser.add_argument("--domain", type=int, default=96, help="ROS domain to be alone in")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write all figures there")
    args = parser.parse_args()
    found = {}
    print("| case | answered | p50 / p95 latency | CPU a frame: node, camera, listener | busy | bars |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in (one for one in CASES if args.only in one.name):
        settings = {**one.settings, "domain": args.domain}
        with tempfile.TemporaryDirectory() as folder:
            run = measure("node", settings, args.seconds, Path(folder)) if settings["outputs"] else None
            result = found[one.name] = run or measure_idle(settings, args.seconds, Path(folder))
        print(f"| {one.name} | {_figures(result)} | {'; '.join(bar.text(result) for bar in one.bars)} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def _figures(result: dict[str, Any]) -> str:
    if "answered" not in result:
        shares = result["core_share"]
        return f"- | - | {100 * shares['node']:.1f} % of a core, bare {100 * shares['bare']:.1f} % | -"
    latency, others = result["latency_ms"], result["others_cpu_ms_per_frame"]
    return (
        f"{result['answered']} of {result['sent']} | {latency['p50']} / {latency['p95']} ms | "
        f"{result['cpu_ms_per_frame']}, {others['camera']}, {others['listener']} ms | "
        f"{100 * result['accelerator_busy_share']:.0f} %"
    )


if __name__ == "__main__":
    main()
