"""ROS as this process would find it: distribution, middleware, discovery, shared memory, socket buffers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from m2a_core.doctor.findings import Finding, Level
from m2a_core.errors import M2aError
from m2a_ros.process.dds import DISCOVERY_SERVER, PROFILE_VARIABLES, profile_variables
from m2a_ros.process.shared_files import shared_file
from m2a_ros.process.shared_memory import SHARED_MEMORY, left_segments, shared_memory_problem

FAST_DDS = "rmw_fastrtps_cpp"
LEAST_RECEIVE_BUFFER = 2 * 2**20
"""Bytes: what Fast DDS' profile asks for is cut to the kernel's limit, and a 1080p image is 4300 UDP packets."""
_RECEIVE_LIMIT = Path("/proc/sys/net/core/rmem_max")
_WHEEL = "ros-rclpy"


def check_ros(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Which ROS is used, and that a wheel and an installation are not mixed."""
    sourced, distribution = environment.get("AMENT_PREFIX_PATH", ""), environment.get("ROS_DISTRO", "")
    wheel = _version(_WHEEL)
    spec = importlib.util.find_spec("rclpy")
    if spec is None:
        yield Finding(
            "ROS 2",
            Level.ERROR,
            "no rclpy: the node, replay in real time and the demo cannot run",
            "source /opt/ros/DISTRO/setup.bash, or without a ROS installation: pip install '.[ros]' in the clone",
        )
        return
    at = str(spec.origin)
    if wheel and sourced and "/opt/ros" in sourced:
        yield Finding(
            "ROS 2",
            Level.WARNING,
            f"wheels (rclpy {wheel}) are installed and {distribution or sourced} is sourced; {at} is what is imported",
            "use a new shell without the setup.bash, or a virtual environment without the wheels",
        )
        return
    yield Finding("ROS 2", Level.OK, f"rclpy {wheel} from wheels" if wheel else f"{distribution or 'unnamed'}, {at}")


def check_middleware(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The middleware and Fast DDS' profile."""
    chosen = environment.get("RMW_IMPLEMENTATION", "") or FAST_DDS
    if chosen != FAST_DDS:
        yield Finding(
            "middleware",
            Level.NOTE,
            f"{chosen}; m2a is tested with {FAST_DDS}",
            "if images get lost, raise its buffers, or unset RMW_IMPLEMENTATION",
        )
        return
    named = {name: environment[name] for name in PROFILE_VARIABLES if environment.get(name)}
    if not named:
        yield Finding(
            "Fast DDS profile",
            Level.NOTE,
            "not set in this shell; m2a sets it for itself, but camera drivers need it too",
            f"export {' '.join(f'{name}={_profile()}' for name in profile_variables())}",
        )
    for name, value in named.items():
        yield profile_finding(name, Path(value))


def profile_finding(variable: str, path: Path) -> Finding:
    """Judge a Fast DDS profile by what large images need."""
    fix = f"export {variable}={_profile()}"
    try:
        # The user's own file, named by the user's own variable; no larger than a few kilobytes.
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        return Finding("Fast DDS profile", Level.ERROR, f"{variable} is {path}: {error}", fix)
    sizes = [int(e.text or 0) for e in root.iter() if e.tag.rpartition("}")[2] == "segment_size"]
    if not sizes or max(sizes) < 8 * 2**20:
        found = f"segments of {max(sizes) / 2**20:.1f} MiB" if sizes else "no segment_size"
        return Finding(
            "Fast DDS profile",
            Level.WARNING,
            f"{path}: {found}; large images need segments of 8 MiB or more",
            fix,
        )
    return Finding("Fast DDS profile", Level.OK, f"{path}, segments of {max(sizes) / 2**20:.0f} MiB")


def check_discovery(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Variables that keep topics from being found."""
    domain = environment.get("ROS_DOMAIN_ID", "") or "0"
    if not domain.isdecimal() or int(domain) > 232:
        yield Finding(
            "ROS_DOMAIN_ID", Level.ERROR, f"'{domain}' is not a number from 0 to 232", "export ROS_DOMAIN_ID=0"
        )
    elif int(domain) > 101:
        yield Finding(
            "ROS_DOMAIN_ID",
            Level.WARNING,
            f"{domain}: above 101 its ports can be taken by other programs on Linux",
            "export ROS_DOMAIN_ID=42",
        )
    else:
        yield Finding("ROS_DOMAIN_ID", Level.OK, domain)
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach.upper() == "OFF":
        yield Finding(
            "discovery",
            Level.WARNING,
            "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF: no other process is found",
            "unset ROS_AUTOMATIC_DISCOVERY_RANGE",
        )
    elif reach.upper() == "LOCALHOST" or environment.get("ROS_LOCALHOST_ONLY") == "1":
        yield Finding("discovery", Level.NOTE, "this machine only: cameras of other machines are not found")
    if server := environment.get(DISCOVERY_SERVER):
        yield Finding("discovery", Level.NOTE, f"by the discovery server {server}; every process must name the same")


def check_shared_memory(folder: Path = SHARED_MEMORY, user: int | None = None) -> Iterator[Finding]:
    """Shared memory, through which images go on one machine."""
    problem = shared_memory_problem(folder, os.getuid() if user is None else user)
    if problem:
        yield Finding(str(folder), Level.WARNING, *_problem_and_remedy(problem))
        return
    try:
        system = os.statvfs(folder)
    except OSError as error:
        yield Finding(str(folder), Level.WARNING, f"cannot be used ({error.strerror}): every image goes through UDP")
        return
    yield Finding(str(folder), Level.OK, f"{system.f_bavail * system.f_frsize / 2**20:.0f} MiB free")
    if left := left_segments(folder):
        yield Finding(
            str(folder),
            Level.NOTE,
            f"{sum(left.values()) / 2**20:.0f} MiB left by killed processes; m2a_node frees them when it starts",
        )


def check_receive_buffer(limit: Path = _RECEIVE_LIMIT) -> Iterator[Finding]:
    """The kernel's limit of a socket's receive buffer; matters for cameras of other machines and containers."""
    try:
        found = int(limit.read_text())
    except (OSError, ValueError):
        yield Finding("net.core.rmem_max", Level.NOTE, "cannot be read here")
        return
    small = found < LEAST_RECEIVE_BUFFER
    yield Finding(
        "net.core.rmem_max",
        Level.WARNING if small else Level.OK,
        f"{found / 2**10:.0f} KiB" + ("; large images from other machines get lost" if small else ""),
        "sudo sysctl -w net.core.rmem_max=8388608 (for good: a file in /etc/sysctl.d)" if small else "",
    )


def _problem_and_remedy(problem: str) -> tuple[str, str]:
    text, _, remedy = problem.partition(": ")
    return text, remedy


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _profile() -> str:
    try:
        return str(shared_file("config/fastdds_profile.xml"))
    except M2aError:
        return "FOLDER_OF_M2A/config/fastdds_profile.xml"
