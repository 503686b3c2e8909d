"""Variables of ROS processes: Fast DDS settings without which large images get lost, and how far topics reach."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from m2a_ros.process.shared_files import shared_file

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Humble and Jazzy read only the second; Kilted and later read the first, and warn where both are set."""
_KILTED = 9

DISCOVERY_SERVER = "ROS_DISCOVERY_SERVER"
_REACHING_OUT = (DISCOVERY_SERVER, "ROS_SUPER_CLIENT", "ROS_STATIC_PEERS")


def profile_variables() -> tuple[str, ...]:
    """Those of `PROFILE_VARIABLES` to set for the installed ROS; both where it cannot be told."""
    try:
        major = int(version("rclpy").split(".")[0])
    except (PackageNotFoundError, ValueError):
        return PROFILE_VARIABLES
    return PROFILE_VARIABLES[:1] if major >= _KILTED else PROFILE_VARIABLES


def profile_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that make Fast DDS use ``config/fastdds_profile.xml``; must be set before the first ROS node is made.

    Args:
        environment: the process's environment; a profile that is named there is left alone.

    Returns:
        The variables to set; empty if one is set already.
    """
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    profile = str(shared_file("config/fastdds_profile.xml"))
    return dict.fromkeys(profile_variables(), profile)


def local_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`profile_environment`, no other machine's topics and no discovery server; arguments as there."""
    # Empty is as good as unset, also where these are merged into the environment that has them.
    nobody = {name: "" for name in _REACHING_OUT if environment.get(name)}
    return {**profile_environment(environment), **nobody, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
