"""Check this machine, the installation and the cameras; name the command that fixes each problem.

It checks Python and its packages, GPU, CUDA and TensorRT, the model bundles' hashes, ROS, its middleware, discovery,
shared memory and socket buffers, and every image topic that is none of m2a's outputs: type, quality of service, size,
rate, stamps, calibration.

Exit code 0: no error. 1: an error, or a warning with --strict.

For example:
  m2a doctor
  m2a doctor --no-cameras --json
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m2a_core.doctor.findings import Check, Finding

HELP = "check machine, installation and cameras; name the command that fixes a problem"

UNWELL = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME|DIR", help="bundle to check (default: all that ship)"
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="S", help="how long to listen to cameras (default: %(default)s)"
    )
    parser.add_argument("--no-cameras", action="store_true", help="do not look for cameras on the ROS graph")
    parser.add_argument("--strict", action="store_true", help="a warning is an error")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check everything, print it, and judge."""
    import importlib.util

    from m2a_core.doctor.findings import Level, lines, run_checks, summary
    from m2a_core.doctor.gpu_checks import check_gpu, check_onnx_runtime
    from m2a_core.doctor.model_checks import check_models
    from m2a_core.doctor.python_checks import check_packages, check_python
    from m2a_core.files import json_text
    from m2a_ros.process import ros_checks

    checks: list[Check] = [
        check_python,
        check_packages,
        check_onnx_runtime,
        check_gpu,
        functools.partial(check_models, args.model),
        ros_checks.check_ros,
        ros_checks.check_middleware,
        ros_checks.check_discovery,
        ros_checks.check_shared_memory,
        ros_checks.check_receive_buffer,
    ]
    if not args.no_cameras and importlib.util.find_spec("rclpy") is not None:
        checks.append(functools.partial(_cameras, args.seconds))
    findings = []
    for finding in run_checks(checks):
        findings.append(finding)
        if not args.json:
            print("\n".join(lines([finding])), flush=True)
    if args.json:
        print(json_text([finding.to_json() for finding in findings], indent=2))
    else:
        print(f"\n{summary(findings)}")
    bad = {Level.ERROR, Level.WARNING} if args.strict else {Level.ERROR}
    return UNWELL if any(finding.level in bad for finding in findings) else 0


def _cameras(seconds: float) -> Iterator[Finding]:
    from m2a_ros.node.camera_survey import CameraSurvey
    from m2a_ros.process.visiting_node import visiting_node

    with visiting_node("m2a_doctor") as (node, executor):
        yield from CameraSurvey(node, lambda left: executor.spin_once(timeout_sec=min(left, 0.1))).findings(seconds)
