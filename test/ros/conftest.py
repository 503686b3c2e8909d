from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from m2a_ros.process.dds import local_environment
from test.ros.dds_node import DdsNode
from test.ros.harness import own_domain
from test.ros.in_process import Nodes

# Before any ROS node is made in this process.
os.environ.update(local_environment(os.environ))


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as number:
        yield number


@pytest.fixture
def nodes(domain: int, tiny: Path) -> Iterator[Nodes]:
    made = Nodes(domain, tiny)
    made.listen("/diagnostics", DiagnosticArray)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dds_node(domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[DdsNode]:
    made = DdsNode(domain, tmp_path_factory.mktemp("dds_node"), tiny)
    try:
        made.listener.wait_for_status("m2a: node", lambda status: status["state"] == "active")
        yield made
    finally:
        made.close()


@pytest.fixture
def listening(dds_node: DdsNode, request: pytest.FixtureRequest) -> Iterator[str]:
    """Listen to a topic during one test."""
    topic, kind = request.param
    dds_node.listener.listen(topic, kind)
    yield topic
    dds_node.listener.forget(topic)
