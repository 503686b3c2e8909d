"""Hand-over of camera messages to the worker: the latest of each camera wins, cameras take turns, drops are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from m2a_ros.camera.stamps import stamp_to_ns

REPLACED = "replaced_by_newer"
NO_SUBSCRIBER = "no_subscriber"


IsBusy = Callable[[str], bool]


def never(camera: str) -> bool:
    """No camera is busy."""
    return False


class Slots(Protocol):
    """Where messages wait for the worker; safe between the executor's thread and the worker's."""

    def put(self, image: ReceivedImage) -> bool:
        """Keep a message; whether it pushed out an older one of its camera."""
        ...

    def take(self, is_busy: IsBusy = never) -> list[ReceivedImage]:
        """Wait for the next messages of one moment, of cameras that are not busy; none once closed."""
        ...

    def wake(self) -> None:
        """Look again which cameras are busy."""
        ...

    def close(self) -> None:
        """Drop what waits and release the worker."""
        ...


@dataclass(frozen=True)
class ReceivedImage:
    """A message and when it came.

    Attributes:
        camera: name of the camera.
        message: ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``, or what has their fields.
        received_at: ``time.monotonic()`` of its arrival, in seconds.
    """

    camera: str
    message: Any
    received_at: float = field(default_factory=time.monotonic)

    @property
    def stamp_ns(self) -> int:
        """The message's stamp, nanoseconds."""
        return stamp_to_ns(self.message.header.stamp)


class FrameSlots:
    """One slot per camera; safe between the executor's thread and the worker's."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        """Make an empty slot for each camera."""
        self._waiting: dict[str, ReceivedImage] = {}
        self._turns = list(cameras)
        self._condition = threading.Condition()
        self._closed = False

    def put(self, image: ReceivedImage) -> bool:
        """Keep a message until the worker takes it or a newer one of the same camera comes.

        Returns:
            Whether it pushed out one that the worker had not taken.
        """
        with self._condition:
            replaced = image.camera in self._waiting
            self._waiting[image.camera] = image
            self._condition.notify()
        return replaced

    def take(self, is_busy: IsBusy = never) -> list[ReceivedImage]:
        """Wait for a message of a camera that is not busy; the one served longest ago goes first. None once closed."""

        def ready() -> str | None:
            return next((name for name in self._turns if name in self._waiting and not is_busy(name)), None)

        with self._condition:
            self._condition.wait_for(lambda: self._closed or ready() is not None)
            camera = ready()
            if self._closed or camera is None:
                return []
            self._turns.remove(camera)
            self._turns.append(camera)
            return [self._waiting.pop(camera)]

    def wake(self) -> None:
        """Look again which cameras are busy."""
        with self._condition:
            self._condition.notify()

    def close(self) -> None:
        """Drop what waits and release the worker."""
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._condition.notify_all()
