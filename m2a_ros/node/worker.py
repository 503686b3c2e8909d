"""The thread that does the work, so that the executor stays free for messages, services and timers."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from m2a_ros.camera.frame_slot import Arrival, Slots


class Worker:
    """Takes frames out of the slots and processes them one at a time."""

    def __init__(
        self, slots: Slots, process: Callable[[Arrival], None], on_crash: Callable[[Arrival, str], None]
    ) -> None:
        """Start the thread.

        Args:
            slots: where frames come from.
            process: called with each.
            on_crash: called with the frame and the traceback when ``process`` fails by a defect of ours.
        """
        self._slots = slots
        self._process = process
        self._on_crash = on_crash
        self._thread = threading.Thread(target=self._run, name="m2a_worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the frame in work, drop those that wait, end the thread."""
        self._slots.close()
        self._thread.join()

    def _run(self) -> None:
        while (arrival := self._slots.take()) is not None:
            try:
                self._process(arrival)
            except Exception:  # noqa: BLE001 - reported in full; a silent end of this thread would hide it
                self._on_crash(arrival, traceback.format_exc())
