"""The real node, started in a process of its own and ended with the one that replays through it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.reader import COMPRESSED
from m2a_ros.outputs.topics import NODE
from m2a_ros.process.children import Child, Children, terminate_as_interrupt
from m2a_ros.process.dds import local_environment
from m2a_ros.process.domain import free_domain
from m2a_ros.replay.node_session import NodeSession, Setup


@dataclass(frozen=True)
class Running:
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
def node_session(setup: Setup, cameras: Sequence[CameraTopic]) -> Iterator[Running]:
    """Run the node and be connected to it.

    Args:
        setup: how to run it.
        cameras: the topics that will be sent.

    Raises:
        ReplayError: the node's process ended or refuses to be configured.
    """
    setup.work.mkdir(parents=True, exist_ok=True)
    domain = free_domain()
    # Fast DDS and rmw read these in this process, too.
    os.environ.update(local_environment(os.environ))
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
    context = Context()
    with terminate_as_interrupt(), Children() as children:
        arguments = ["m2a_ros.node.main", "--ros-args", "--params-file", str(_write_parameters(setup, cameras))]
        child = children.start("node", arguments, environment, setup.work / "node.log", reads_stdout=False)
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("m2a_replay", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)

        try:
            yield Running(NodeSession(setup, cameras, node, child, executor), node, child, children, environment)
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown(context=context)


def input_topic(camera: CameraTopic) -> tuple[type, str]:
    """Type and name of the node's topic for a camera's images."""
    topic = f"{NODE}/input/{camera.camera}/image"
    if camera.connections[0].msgtype == COMPRESSED:
        return CompressedImage, f"{topic}/compressed"
    return Image, topic


def _write_parameters(setup: Setup, cameras: Sequence[CameraTopic]) -> Path:
    parameters: dict[str, Any] = {
        "model": setup.model,
        "backend": setup.backend,
        "threads": setup.threads or 0,
        "cameras": [camera.camera for camera in cameras],
        "use_sim_time": setup.sim_time,
        "diagnostics": {"period": setup.diagnostics_period},
    }
    if setup.reliable:
        parameters["qos_overrides"] = {
            input_topic(camera)[1]: {"subscription": {"reliability": "reliable"}} for camera in cameras
        }
    path = setup.work / "node.param.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
    return path
