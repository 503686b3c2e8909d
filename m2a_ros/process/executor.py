"""An executor that goes on after a message that could not be taken, as where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor

_OPENCV_NO_MEMORY = -4


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that memory could not be had."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY


class SurvivingExecutor(SingleThreadedExecutor):
    """Tells of what cannot be taken from the middleware, and waits for the next.

    rclpy itself would raise out of ``spin``, and would never wait for that subscription, service or timer again.
    """

    def __init__(self, failed: Callable[[Any, Exception], object], **options: Any) -> None:
        """Set up.

        Args:
            failed: told the subscription, service, client, timer or waitable, and why.
            options: see ``rclpy.executors.SingleThreadedExecutor``.
        """
        super().__init__(**options)
        self._failed = failed

    def _make_handler(self, entity: Any, node: Any, take_from_wait_list: Callable[[Any], Any], *rest: Any) -> Any:
        def take(entity: Any) -> Any:
            try:
                return take_from_wait_list(entity)
            except Exception as error:  # noqa: BLE001 - reported
                self._failed(entity, error)
                return None

        return super()._make_handler(entity, node, take, *rest)
