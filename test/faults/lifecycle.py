"""Random sequences of transitions under traffic, against a model of the life cycle (REP: managed nodes of ROS 2)."""

# ruff: noqa: SLF001 - a node's state is looked at from inside
from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from m2a_ros.node.node import M2aNode
from m2a_ros.process.dds import local_environment
from test.ros.harness import own_domain
from test.ros.in_process import Nodes
from test.ros.messages import image, scene
from test.tiny_bundle import write_tiny_bundle

STEPS = 12
MASK, IN = "/m2a/output/front/open_set_mask", "/m2a/input/front/image"
_NEXT = {
    ("unconfigured", Transition.TRANSITION_CONFIGURE): "inactive",
    ("inactive", Transition.TRANSITION_ACTIVATE): "active",
    ("active", Transition.TRANSITION_DEACTIVATE): "inactive",
    ("inactive", Transition.TRANSITION_CLEANUP): "unconfigured",
    ("unconfigured", Transition.TRANSITION_UNCONFIGURED_SHUTDOWN): "finalized",
    ("inactive", Transition.TRANSITION_INACTIVE_SHUTDOWN): "finalized",
    ("active", Transition.TRANSITION_ACTIVE_SHUTDOWN): "finalized",
}
_ASKED = sorted({transition for _, transition in _NEXT})


class World:
    """What all sequences of a process share: a domain, a camera and a listener."""

    def __init__(self, rig: Nodes) -> None:
        self.rig = rig
        self.stamp = 1_000
        self.masks = rig.listen(MASK, Image)
        self.client = rig.peer.create_client(ChangeState, "/m2a/change_state")

    def make_node(self) -> M2aNode:
        values = {"model": str(self.rig._model), "threads": 1, "autostart": False, "extrinsics": "parameters"}
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        node = M2aNode(context=self.rig.context, parameter_overrides=parameters)
        self.rig.executor.add_node(node)
        return node

    def spin(self, times: int = 3) -> None:
        for _ in range(times):
            self.rig.executor.spin_once(timeout_sec=0.005)


def machine_for(world: World) -> type[RuleBasedStateMachine]:
    """The state machine that drives a new node through one sequence."""

    class LifeCycle(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.node = world.make_node()
            self.state = "unconfigured"
            self.sent: set[int] = set()
            world.masks.clear()

        @initialize()
        def meet(self) -> None:
            world.rig.until(world.client.service_is_ready)

        @rule(transition=st.sampled_from(_ASKED))
        def ask(self, transition: int) -> None:
            """As a lifecycle manager does; what does not fit the state is refused and changes nothing."""
            wanted = _NEXT.get((self.state, transition))
            future = world.client.call_async(ChangeState.Request(transition=Transition(id=transition)))
            answer = world.rig.until(lambda: future.done() and future.result())
            assert answer.success == (wanted is not None), f"{transition} from {self.state}: {answer.success}"
            self.state = wanted or self.state

        @rule()
        def send_a_frame(self) -> None:
            world.stamp += 1
            self.sent.add(world.stamp)
            world.rig.send(IN, image(scene((20, 50, 60, 80)), world.stamp))
            world.spin()

        @rule(cut=st.integers(0, 200))
        def send_what_is_no_frame(self, cut: int) -> None:
            self.send_a_frame()
            world.rig.senders[IN].publish(serialize_message(image(scene(None), 1))[:cut])
            world.spin()

        @precondition(lambda self: self.state == "active")
        @rule()
        def expect_an_answer(self) -> None:
            world.stamp += 1
            self.sent.add(world.stamp)
            world.rig.answer(MASK, image(scene(None), world.stamp), IN)

        @rule(value=st.sampled_from((0.2, 0.9, -1.0, 7.0, float("nan"))))
        def set_a_threshold(self, value: float) -> None:
            (result,) = self.node.set_parameters([Parameter("thresholds.anomaly", value=value)])
            assert result.successful == (value <= 1.0)

        @invariant()
        def state_is_the_models(self) -> None:
            assert self.node._state_machine.current_state[1] == self.state
            assert self.node.problem == ""

        @invariant()
        def every_answer_is_to_a_frame_that_was_sent(self) -> None:
            assert {mask.header.stamp.sec for mask in world.masks} <= self.sent, "wrong stamp"

        def teardown(self) -> None:
            world.rig.executor.remove_node(self.node)
            self.node.destroy_node()

    return LifeCycle


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """A world; gives what runs one sequence."""
    os.environ.update(local_environment(os.environ))
    with own_domain() as domain:
        rig = Nodes(domain, write_tiny_bundle(folder / "tiny", (32, 32)))
        world = World(rig)
        try:
            yield lambda rng, number: run_sequence(world, rng.randrange(2**32))
        finally:
            rig.close()


def run_sequence(world: World, number: int) -> str:
    machine: Any = seeded(number)(machine_for(world))
    once = settings(
        max_examples=1,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=once)
    return "as the model says"
