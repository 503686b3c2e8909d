"""Publishers and subscriptions whose quality of service users may override.

The parameters are ``qos_overrides.TOPIC.{subscription,publisher}.{history,depth,reliability,durability}``, where TOPIC
is the name after remapping. A counterpart whose quality of service does not fit is never matched and hears nothing; DDS
tells of it in an event.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from m2a_core.errors import ConfigError

try:  # Iron and later.
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ModuleNotFoundError:  # Humble.
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

OnMismatch = Callable[[str, str], None]
"""Called with the topic and the name of the policy that a counterpart asks for or offers differently."""

View = Callable[[Any], Any]
"""Gives what has the fields of a serialised message, or None where it takes rclpy to read it."""

_KINDS = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
_POLICIES = tuple(kind.name.lower() for kind in _KINDS)
_PREFIX = "qos_overrides."


def create_sensor_subscription(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[Any], None],
    on_unreadable: Callable[[str], None],
    on_mismatch: OnMismatch | None = None,
    view: View | None = None,
    group: CallbackGroup | None = None,
) -> Subscription[Any]:
    """Subscribe to what a sensor sends (REP-2003).

    Best effort matches every publisher; depth 1, for the latest wins.

    Args:
        node: the node to subscribe with.
        kind: type of the messages.
        topic: its name.
        callback: called with each message.
        on_unreadable: called for bytes that are not such a message, which rclpy itself would drop silently.
        on_mismatch: called when a publisher's quality of service does not fit; None leaves it to rclpy, which logs it.
        view: a quicker way to read most messages.
        group: of the callback; None for the node's own.

    Raises:
        ConfigError: an override is impossible.
    """
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    report = _reporter(node, topic, "subscription", on_mismatch)
    overrides = QoSOverridingOptions(_KINDS)
    try:
        return node.create_subscription(
            kind,
            topic,
            _reading(kind, callback, on_unreadable, view),
            qos,
            qos_overriding_options=overrides,
            raw=True,
            callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=report),
        )
    except (RuntimeError, ParameterException) as error:
        raise _impossible(node, topic, error) from error


def create_latched_subscription(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[Any], None],
    on_unreadable: Callable[[str], None],
    view: View | None = None,
    group: CallbackGroup | None = None,
) -> Subscription[Any]:
    """Subscribe to the last message of latched publishers, of which a sensor's subscription hears only later ones.

    Args:
        node: the node to subscribe with.
        kind: type of the messages.
        topic: its name.
        callback: called with each message.
        on_unreadable: see ``create_sensor_subscription``.
        view: see ``create_sensor_subscription``.
        group: see ``create_sensor_subscription``.
    """
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    # A publisher that is not latched does not fit, and need not: the sensor's subscription hears it.
    silent = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
    reading = _reading(kind, callback, on_unreadable, view)
    return node.create_subscription(kind, topic, reading, qos, raw=True, callback_group=group, event_callbacks=silent)


def _reading(
    kind: type, callback: Callable[[Any], None], on_unreadable: Callable[[str], None], view: View | None = None
) -> Callable[[memoryview], None]:
    """A callback for serialised messages."""

    def read(data: memoryview) -> None:
        try:
            message = None if view is None else view(data)
            if message is None:
                message = deserialize_message(bytes(data), kind)
        except (RuntimeError, UnicodeDecodeError) as error:  # RMWError, which differs between distributions
            reason = str(error).splitlines()[0]
            on_unreadable(f"{len(data)} bytes that are not a valid {kind.__name__} message ({reason})")
            return
        callback(message)

    return read


def is_latched(publisher: Any) -> bool:
    """Whether a publisher keeps its last message for readers to come.

    Args:
        publisher: its ``rclpy.topic_endpoint_info.TopicEndpointInfo``.
    """
    qos = publisher.qos_profile
    return (qos.durability, qos.reliability) == (DurabilityPolicy.TRANSIENT_LOCAL, ReliabilityPolicy.RELIABLE)


def create_output_publisher(
    node: Node, kind: type, topic: str, latched: bool = False, on_mismatch: OnMismatch | None = None
) -> Publisher[Any]:
    """Publish an output: reliable, which serves reliable and best-effort readers.

    Args:
        node: the node to publish with.
        kind: type of the messages.
        topic: its name.
        latched: whether readers that come later get the last message.
        on_mismatch: called when a reader's quality of service does not fit; None leaves it to rclpy, which logs it.

    Raises:
        ConfigError: an override is impossible.
    """
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    report = _reporter(node, topic, "publisher", on_mismatch)
    # A fresh profile each time, for rclpy writes the overrides into it.
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    overrides = QoSOverridingOptions(_KINDS)
    try:
        return node.create_publisher(
            kind,
            topic,
            qos,
            qos_overriding_options=overrides,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=report),
        )
    except (RuntimeError, ParameterException) as error:
        raise _impossible(node, topic, error) from error


def mismatch_remedy(topic: str, entity: str, policy: str) -> str:
    """What to do about a counterpart whose quality of service does not fit.

    Args:
        topic: its name after remapping.
        entity: ours, ``subscription`` or ``publisher``.
        policy: the policy's name, in upper or lower case.
    """
    other = "publisher" if entity == "subscription" else "reader"
    if policy.lower() not in _POLICIES:
        return f"change the {policy.lower()} of the {other}"
    return f"set {_PREFIX}{topic}.{entity}.{policy.lower()}, or change the {other}'s"


def ignored_overrides(node: Node) -> list[str]:
    """Why overrides that a node was given have no effect: a line for each.

    Args:
        node: whose publishers and subscriptions exist by now.

    Raises:
        ConfigError: one is for a topic of the node's and names no policy that can be overridden.
    """
    given = [name for name in node._parameter_overrides if name.startswith(_PREFIX)]
    unused = sorted(name for name in given if not node.has_parameter(name))
    own = {name.removeprefix(_PREFIX).rsplit(".", 1)[0] for name in node._parameters if name.startswith(_PREFIX)}
    lines = []
    for name in unused:
        where, _, policy = name.removeprefix(_PREFIX).rpartition(".")
        if where in own:
            raise ConfigError(f"parameter '{name}': '{policy}' is not one of {', '.join(_POLICIES)}; correct it")
        close = difflib.get_close_matches(where, own, n=1)
        hint = f"did you mean '{_PREFIX}{close[0]}.{policy}'?" if close else "topics are named as after remapping"
        lines.append(f"'{name}' matches no topic of this node; {hint}")
    return lines


def _reporter(node: Node, topic: str, entity: str, on_mismatch: OnMismatch | None) -> Callable[[Any], None] | None:
    if on_mismatch is None:
        return None
    resolved, report = node.resolve_topic_name(topic), on_mismatch

    def tell(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        node.get_logger().warning(
            f"{resolved}: {policy} of the other side is incompatible, so no data flows between the two: "
            f"{mismatch_remedy(resolved, entity, policy)}; see `ros2 topic info --verbose {resolved}`"
        )
        report(resolved, policy)

    return tell


def _impossible(node: Node, topic: str, error: Exception) -> ConfigError:
    return ConfigError(f"{node.resolve_topic_name(topic)}: {error}; correct its qos_overrides parameters and restart")
