from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from m2a_ros.process.dds import local_environment
from test.ros.bench import Bench
from test.ros.harness import own_domain
from test.ros.rig import Rig
from test.tiny_bundle import write_tiny_bundle

# Before any ROS node is made in this process.
os.environ.update(local_environment(os.environ))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as number:
        yield number


@pytest.fixture
def rig(domain: int, tiny: Path) -> Iterator[Rig]:
    made = Rig(domain, tiny)
    made.listen("/diagnostics", DiagnosticArray)
    yield made
    made.close()


@pytest.fixture(scope="module")
def bench(domain: int, tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Bench]:
    made = Bench(domain, tmp_path_factory.mktemp("bench"), tiny)
    try:
        made.listener.wait_for_status("m2a: node", lambda status: status["state"] == "active")
        yield made
    finally:
        made.close()


@pytest.fixture
def listening(bench: Bench, request: pytest.FixtureRequest) -> Iterator[str]:
    """Listen to a topic during one test."""
    topic, kind = request.param
    bench.listener.listen(topic, kind)
    yield topic
    bench.listener.forget(topic)
