"""The real node, started in a process of its own and ended with the one that replays through it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.reader import COMPRESSED
from m2a_ros.outputs.topics import NODE
from m2a_ros.parameters.file import of_these_cameras, write_parameters
from m2a_ros.process.children import Child, Children, terminate_as_interrupt
from m2a_ros.process.dds import local_environment
from m2a_ros.process.domain import free_domain
from m2a_ros.process.visiting_node import visiting_node
from m2a_ros.replay.node_session import NodeSession, Setup


@dataclass(frozen=True)
class RunningNode:
    """A node that runs, and what it takes to talk with it.

    Attributes:
        session: its outputs and diagnostics.
        node: a ROS node of this process.
        child: the node's process.
        children: where to start other processes.
        environment: for them.
    """

    session: NodeSession
    node: Any
    child: Child
    children: Children
    environment: Mapping[str, str]


@contextmanager
def node_session(setup: Setup, cameras: Sequence[CameraTopic]) -> Iterator[RunningNode]:
    """Run the node and be connected to it.

    Args:
        setup: how to run it.
        cameras: the topics that will be sent.

    Raises:
        ReplayError: the node's process ended or cannot be configured.
    """
    work = setup.settings.work
    work.mkdir(parents=True, exist_ok=True)
    domain = free_domain()
    # Fast DDS and rmw read these in this process, too.
    os.environ.update(local_environment(os.environ))
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
    with terminate_as_interrupt(), Children() as children:
        arguments = ["m2a_ros.node.main", "--ros-args", "--params-file", str(_write_parameters(setup, cameras))]
        child = children.start("node", arguments, environment, work / "node.log", reads_stdout=False)
        with visiting_node("m2a_replay", domain) as (node, executor):
            yield RunningNode(NodeSession(setup, cameras, node, child, executor), node, child, children, environment)


def input_topic(camera: CameraTopic) -> tuple[type, str]:
    """Type and name of the node's topic for a camera's images."""
    topic = f"{NODE}/input/{camera.camera}/image"
    if COMPRESSED in camera.types:
        return CompressedImage, f"{topic}/compressed"
    return Image, topic


def camera_info_topic(camera: CameraTopic) -> str:
    """Name of the node's topic for a camera's calibration."""
    return f"{NODE}/input/{camera.camera}/camera_info"


def _write_parameters(setup: Setup, cameras: Sequence[CameraTopic]) -> Path:
    names = [camera.camera for camera in cameras]
    parameters: dict[str, Any] = {
        **of_these_cameras(setup.settings.parameters, names),
        "cameras": names,
        "use_sim_time": setup.sim_time,
        "diagnostics.period": setup.diagnostics_period,
        "autostart": True,
        # The bag's transforms are not played.
        "extrinsics": "parameters",
    }
    if setup.reliable:
        # One image at a time is sent, however fast: there is nothing to limit or to batch.
        parameters |= {"max_rate": 0.0, "batch.anchor": ""}
        parameters |= {f"camera.{name}.max_rate": -1.0 for name in names}
        parameters |= {f"qos_overrides.{input_topic(c)[1]}.subscription.reliability": "reliable" for c in cameras}
    path = setup.settings.work / "node.param.yaml"
    write_parameters(path, parameters)
    return path
