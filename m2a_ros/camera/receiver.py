"""The thread that takes sensor messages.

rclpy builds a wait set of everything a node has for each message that comes: with the node's many publishers, whose
events count too, that takes as long as handling the message. Here only the sensors' subscriptions are waited for.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.subscription import Subscription

from m2a_ros.process.executor import SurvivingExecutor

_STOP_S = 1.0
_PAUSE_S = 0.05
"""After a failure: a message that cannot be taken may be offered again at once."""


class _Group(CallbackGroup):
    """Entities that a single thread handles, whatever executor the node is added to."""

    thread: threading.Thread | None = None

    def can_execute(self, entity: Any) -> bool:
        return threading.current_thread() is self.thread

    def beginning_execution(self, entity: Any) -> bool:
        return True

    def ending_execution(self, entity: Any) -> None:
        pass


class _GroupExecutor(SurvivingExecutor):
    """Waits for one group of a node that another executor spins."""

    def __init__(self, node: Node, group: _Group, failed: Callable[[Any, Exception], object]) -> None:
        super().__init__(failed, context=node.context)
        self._node, self._group = node, group

    def get_nodes(self) -> list[Node]:
        return [self._node]

    def can_execute(self, entity: Any) -> bool:
        return entity.callback_group is self._group and super().can_execute(entity)


class Receiver:
    """Runs callbacks of subscriptions that were made with its group on a thread of its own.

    Attributes:
        group: for ``Node.create_subscription``.
    """

    def __init__(self, node: Node) -> None:
        """Start the thread."""
        self.group = _Group()
        self._node = node
        self._stopped = False
        self._on_lost: dict[Subscription[Any], Callable[[str], object]] = {}
        self._executor = _GroupExecutor(node, self.group, self._lose)
        self._guard = node.create_guard_condition(lambda: None, self.group)
        self.group.thread = threading.Thread(target=self._spin, name="m2a_receive", daemon=True)
        self.group.thread.start()

    def add(self, subscription: Subscription[Any], on_lost: Callable[[str], object]) -> None:
        """Wait for a subscription too.

        Args:
            subscription: made with ``group``.
            on_lost: told why a message that came could not be taken.
        """
        self._on_lost[subscription] = on_lost
        self._wake()

    def remove(self, subscription: Subscription[Any]) -> None:
        """Wait no more for a subscription that was destroyed."""
        self._on_lost.pop(subscription, None)
        self._wake()

    def stop(self) -> None:
        """Handle nothing any more; waits for the callback that runs, but not for one that hangs."""
        self._stopped = True
        self._guard.trigger()
        assert self.group.thread is not None
        self.group.thread.join(_STOP_S)
        if self.group.thread.is_alive():
            return
        self._node.destroy_guard_condition(self._guard)
        self._executor.shutdown()

    def _wake(self) -> None:
        if not self._stopped:
            self._guard.trigger()

    def _lose(self, entity: Any, error: Exception) -> None:
        if on_lost := self._on_lost.get(entity):
            on_lost(f"a message could not be taken ({type(error).__name__}: {error})")
        time.sleep(_PAUSE_S)

    def _spin(self) -> None:
        while not self._stopped and self._executor.context.ok():
            try:
                self._executor.spin_once()
            except ExternalShutdownException:
                return
            except Exception:  # noqa: BLE001 - reported in full; the next message may be fine
                if not self._executor.context.ok():
                    # ROS was shut down after the look above: rclpy then finds no context to wait in.
                    return
                with suppress(MemoryError):
                    self._node.get_logger().error(f"a sensor's message failed\n{traceback.format_exc()}")
                time.sleep(_PAUSE_S)
