from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from m2a_ros.dds import profile_environment
from test.ros.harness import own_domain
from test.tiny_bundle import write_tiny_bundle

# Before any ROS node is made in this process.
os.environ.update(profile_environment(os.environ))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as number:
        yield number
