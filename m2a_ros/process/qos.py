"""Publishers and subscriptions whose quality of service users may override (parameters ``qos_overrides.*``).

A counterpart whose quality of service does not fit is never matched and hears nothing; DDS tells of it in an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from m2a_core.errors import ConfigError

try:  # Iron and later.
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ModuleNotFoundError:  # Humble.
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

OnMismatch = Callable[[str, str], None]
"""Called with the topic and the name of the policy that a counterpart asks for or offers differently."""


def create_sensor_subscription(
    node: Node, kind: type, topic: str, callback: Callable[[Any], None], on_mismatch: OnMismatch | None = None
) -> Subscription:
    """Subscribe to what a sensor sends (REP-2003).

    Best effort matches every publisher; depth 1, for the latest wins.

    Args:
        node: the node to subscribe with.
        kind: type of the messages.
        topic: its name.
        callback: called with each message.
        on_mismatch: called when a publisher's quality of service does not fit; None leaves it to rclpy, which logs it.

    Raises:
        ConfigError: an override is impossible.
    """
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    overrides = QoSOverridingOptions.with_default_policies()
    try:
        return node.create_subscription(
            kind, topic, callback, qos, qos_overriding_options=overrides,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=_reporter(node, topic, on_mismatch)),
        )  # fmt: skip
    except (RuntimeError, ParameterException) as error:
        raise _impossible(node, topic, error) from error


def create_output_publisher(
    node: Node, kind: type, topic: str, latched: bool = False, on_mismatch: OnMismatch | None = None
) -> Publisher:
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
    # A fresh profile each time, for rclpy writes the overrides into it.
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    overrides = QoSOverridingOptions.with_default_policies()
    try:
        return node.create_publisher(
            kind, topic, qos, qos_overriding_options=overrides,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=_reporter(node, topic, on_mismatch)),
        )  # fmt: skip
    except (RuntimeError, ParameterException) as error:
        raise _impossible(node, topic, error) from error


def _reporter(node: Node, topic: str, on_mismatch: OnMismatch | None) -> Callable[[Any], None] | None:
    if on_mismatch is None:
        return None
    resolved, report = node.resolve_topic_name(topic), on_mismatch

    def tell(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        node.get_logger().warning(
            f"{resolved}: {policy} of a counterpart does not fit, nothing goes between the two; see the parameters "
            f"qos_overrides.{resolved}.* and `ros2 topic info --verbose {resolved}`"
        )
        report(resolved, policy)

    return tell


def _impossible(node: Node, topic: str, error: Exception) -> ConfigError:
    return ConfigError(f"{node.resolve_topic_name(topic)}: {error}; correct its qos_overrides parameters and restart")
