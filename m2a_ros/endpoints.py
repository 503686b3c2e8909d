"""Publishers and subscriptions whose quality of service users may override (parameters ``qos_overrides.*``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from m2a_core.errors import ConfigError


def create_sensor_subscription(node: Node, kind: type, topic: str, callback: Callable[[Any], None]) -> Subscription:
    """Subscribe to what a sensor sends (REP-2003).

    Best effort matches every publisher; depth 1, for the latest wins.

    Raises:
        ConfigError: an override is impossible.
    """
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    overrides = QoSOverridingOptions.with_default_policies()
    try:
        return node.create_subscription(kind, topic, callback, qos, qos_overriding_options=overrides)
    except RuntimeError as error:
        raise _impossible(node, topic, error) from error


def create_output_publisher(node: Node, kind: type, topic: str, latched: bool = False) -> Publisher:
    """Publish an output: reliable, which serves reliable and best-effort readers; ``latched`` for late ones too.

    Raises:
        ConfigError: an override is impossible.
    """
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    # A fresh profile each time, for rclpy writes the overrides into it.
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    overrides = QoSOverridingOptions.with_default_policies()
    try:
        return node.create_publisher(kind, topic, qos, qos_overriding_options=overrides)
    except RuntimeError as error:
        raise _impossible(node, topic, error) from error


def _impossible(node: Node, topic: str, error: RuntimeError) -> ConfigError:
    return ConfigError(f"{node.resolve_topic_name(topic)}: {error}; correct its qos_overrides parameters and restart")
