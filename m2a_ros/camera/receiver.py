"""The thread that takes sensor messages.

rclpy builds a wait set of everything a node has for each message that comes, and a task for the message: with the
node's many publishers, whose events count too, that takes as long as handling the message. Here the sensors'
subscriptions are waited for and nothing else.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

from m2a_ros.process.raw_messages import take_raw

_STOP_S = 1.0
_PAUSE_S = 0.05
"""After a failure: a message that cannot be taken may be offered again at once."""
_LOOK_NS = 1_000_000_000
"""So often the thread looks whether ROS is still there; a signal may end it without a word."""


class _Group(CallbackGroup):
    """Subscriptions and their events that no executor handles."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return True

    def ending_execution(self, entity: Any) -> None:
        pass


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
        self._changed = GuardCondition(None, None, context=node.context)
        self._thread = threading.Thread(target=self._run, name="m2a_receive", daemon=True)
        self._thread.start()

    def add(self, subscription: Subscription[Any], on_lost: Callable[[str], object]) -> None:
        """Wait for a subscription too.

        Args:
            subscription: made with ``group``; its callback gets serialised messages.
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
        self._changed.trigger()
        self._thread.join(_STOP_S)
        if not self._thread.is_alive():
            self._changed.destroy()

    def _wake(self) -> None:
        if not self._stopped:
            self._changed.trigger()

    def _run(self) -> None:
        while not self._stopped and self._node.context.ok():
            try:
                for handle in self.wait():
                    if not self._stopped:
                        handle()
            except Exception:  # noqa: BLE001 - reported in full; the next message may be fine
                if not self._node.context.ok():
                    # ROS was shut down after the look above: there is no context to wait in any more.
                    return
                with suppress(MemoryError):
                    self._node.get_logger().error(f"a sensor's message failed\n{traceback.format_exc()}")
                time.sleep(_PAUSE_S)

    def wait(self) -> list[Callable[[], None]]:
        """Wait for messages and events; gives what handles them, nothing where others are to be waited for."""
        with ExitStack() as held:
            waiting = []
            for subscription in tuple(self._on_lost):
                with suppress(rclpy_implementation.InvalidHandle):  # Destroyed meanwhile.
                    held.enter_context(subscription.handle)
                    waiting.append(subscription)
            context: Any = self._node.context.handle
            guard: Any = self._changed.handle
            held.enter_context(context)
            held.enter_context(guard)
            events = [event for subscription in waiting for event in subscription.event_handlers]
            for event in events:
                held.enter_context(event)
            numbers = (len(waiting), 1, 0, 0, 0, len(events))
            wait_set = rclpy_implementation.WaitSet(*numbers, context)
            wait_set.clear_entities()
            for subscription in waiting:
                wait_set.add_subscription(subscription.handle)
            for event in events:
                event.add_to_wait_set(wait_set)
            wait_set.add_guard_condition(guard)
            wait_set.wait(_LOOK_NS)
            ready = set(wait_set.get_ready_entities("subscription"))
            told = [partial(_tell, event, event.take_data()) for event in events if event.is_ready(wait_set)]
            came = [partial(self._take, one) for one in waiting if one.handle.pointer in ready]
            return [*told, *came]

    def _take(self, subscription: Subscription[Any]) -> None:
        try:
            message = take_raw(subscription)
        except rclpy_implementation.InvalidHandle:
            return
        except Exception as error:  # noqa: BLE001 - reported
            if on_lost := self._on_lost.get(subscription):
                on_lost(f"a message could not be taken ({type(error).__name__}: {error})")
            time.sleep(_PAUSE_S)
            return
        callback: Any = subscription.callback
        if message is not None:
            callback(message)


def _tell(event: Any, what: Any) -> None:
    if what:
        event.callback(what)
