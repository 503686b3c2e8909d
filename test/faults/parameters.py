"""Parameters of any kind and value, at start and while the node runs: taken or refused by name, the node lives on."""

# ruff: noqa: SLF001 - a node's state is looked at from inside
from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from m2a_ros.node.node import M2aNode
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.process.dds import local_environment
from test.ros.harness import own_domain
from test.tiny_bundle import write_tiny_bundle

VALUES: tuple[Any, ...] = (
    True, False, 0, 1, -1, 2, 255, 2**31, -(2**31), 2**63 - 1, -(2**63), 0.0, -0.0, 0.5, 1.0, -1.0, 1e308, -1e308,
    1e-308, float("nan"), float("inf"), float("-inf"), "", "front", "auto", "none", "/etc/passwd", "../..", "\n",
    "\x1b[2J", "é", "x" * 100_000, "1920x1080", "0x0", "999999999x999999999", [""], ["front"], ["front", "front"],
    ["a b"], ["x"] * 50, [1, 2], [1.0], [True], [b"\x00", b"\x01"],
)  # fmt: skip
NAMES = [spec.name for spec in all_parameters(("front",))] + [
    "camera.rear.crop",
    "modle",
    "thresholds",
    "x" * 300,
    "a.b.c",
]


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """A domain and a model; gives what tries one set of parameters."""
    os.environ.update(local_environment(os.environ))
    model = str(write_tiny_bundle(folder / "tiny", (32, 32)))
    with own_domain() as domain:
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        yield lambda rng, number: _case(rng, context, model)
        rclpy.try_shutdown(context=context)


def _case(rng: random.Random, context: Context, model: str) -> str:
    given = {"model": model, "threads": 1}
    given |= {rng.choice(NAMES): rng.choice(VALUES) for _ in range(rng.choice((0, 1, 1, 2, 4)))}
    given["autostart"] = False
    node = M2aNode(context=context, parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    try:
        node.trigger_configure()
        configured = node._state_machine.current_state[1] == "inactive"
        assert configured == (not node.problem), node.problem
        assert configured or "Traceback" not in node.problem, node.problem
        if configured:
            node.trigger_activate()
            assert node._state_machine.current_state[1] == "active", node.problem
        for _ in range(4):
            name, value = rng.choice(NAMES), rng.choice(VALUES)
            if node.has_parameter(name):
                (answer,) = node.set_parameters([Parameter(name, value=value)])
                assert answer.successful or answer.reason
                assert len(answer.reason) < 3000
        node._look_around()
        node.reporter.publish()
    finally:
        node.destroy_node()
    return "configured" if configured else "refused"
