"""What happens when a step hangs: it is reported, given up, and the model is loaded anew, with growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable

from m2a_core.errors import M2aError
from m2a_ros.node.model import LoadedModel

RESTART_AFTER = 5.0
"""A step that takes so many times ``watchdog.timeout`` is given up."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class Recovery:
    """Loads a model on a thread of its own until it succeeds; a load that hangs holds up nobody."""

    def __init__(self, load: Callable[[], LoadedModel], attempt: int, report: Callable[[str], object]) -> None:
        """Start.

        Args:
            load: gives the model; may raise ``M2aError``.
            attempt: how many recoveries there were before; the pause before this one grows with it.
            report: told why loading failed.
        """
        self._load, self._report = load, report
        self._pause_s = min(_FIRST_PAUSE_S * 2.0**attempt, _LONGEST_PAUSE_S)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._model: LoadedModel | None = None
        threading.Thread(target=self._run, name="m2a_recovery", daemon=True).start()

    def take(self) -> LoadedModel | None:
        """The model, once it is there."""
        with self._lock:
            model, self._model = self._model, None
        return model

    def cancel(self) -> None:
        """Nobody wants the model any more; one that was loaded is freed."""
        self._cancelled.set()
        if (model := self.take()) is not None:
            model.close()

    def _run(self) -> None:
        while not self._cancelled.wait(self._pause_s):
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            try:
                model = self._load()
            except M2aError as error:
                self._report(f"the model cannot be loaded anew: {error}")
                continue
            with self._lock:
                self._model = model
            if self._cancelled.is_set():
                self.cancel()
            return
