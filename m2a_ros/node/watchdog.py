"""What happens when a step hangs: it is reported, given up, and the model loaded again; the next time after a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from m2a_ros.node.model import LoadedModel
from m2a_ros.node.stages import Stages

RESTART_AFTER = 5.0
"""A step that takes so many times ``watchdog.timeout`` is given up."""

FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_CALM_S = 300.0
"""After so long without a recovery, the next one is without a pause again."""


class Watchdog:
    """Looks at the stages from time to time; belongs to the executor's thread.

    Attributes:
        problem: what to say of a step that takes too long or was given up; empty where all is well.
    """

    def __init__(
        self, report: Callable[[str], object], resume: Callable[[LoadedModel], object], wake: Callable[[], object]
    ) -> None:
        """Set up.

        Args:
            report: told of a step that is given up, and why loading failed.
            resume: called with the model that was loaded again.
            wake: has the executor's thread look at once; called by any thread.
        """
        self.problem = ""
        self._report, self._resume, self._wake = report, resume, wake
        self._recovery: Recovery | None = None
        self._recoveries = 0
        self._resumed_at = 0.0
        self._lost = ""

    def lose(self, reason: str) -> None:
        """Told, by any thread, that the model is of no use any more: it is loaded again."""
        self._lost = reason
        self._wake()

    def check(
        self,
        stages: Stages[Any],
        timeout_s: float,
        restart: bool,
        load: Callable[[], LoadedModel],
        abandon: Callable[[], object] = lambda: None,
        ended: str = "",
    ) -> None:
        """Report a step that hangs, give it up, or go on with the model that was loaded again.

        Args:
            stages: that work now.
            timeout_s: what a step may take.
            restart: whether a step is given up after ``RESTART_AFTER`` times as long.
            load: gives the model again.
            abandon: frees what hangs, where that can be done, and takes back what is shown.
            ended: how the network's own process ended, if it did.
        """
        if self._recovery is not None:
            if (model := self._recovery.take()) is not None:
                self._recovery, self.problem = None, ""
                self._resumed_at = time.monotonic()
                self._resume(model)
                # Steps of the model before may have reported its loss until now.
                self._lost = ""
            return
        seconds = stages.stalled_s()
        self.problem = ""
        if seconds > timeout_s:
            self.problem = (
                f"stalled: one step has been running for {seconds:.1f} s (watchdog.timeout); nothing is published"
            )
        lost, self._lost = self._lost or ended, ""
        if restart and seconds > RESTART_AFTER * timeout_s:
            lost = f"a step ran for {seconds:.1f} s and was given up"
        if lost:
            self.problem = f"{lost}; the model is being loaded again"
            self._report(self.problem)
            stages.stop(wait_s=0.0)
            abandon()
            if time.monotonic() - self._resumed_at > _CALM_S:
                self._recoveries = 0
            self._recovery = Recovery(load, self._recoveries, self._report, self._wake)
            self._recoveries += 1

    def cancel(self) -> None:
        """The node is told to stop: no model is loaded any more."""
        self.problem = self._lost = ""
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None


def pauses(attempt: int) -> Iterator[float]:
    """Seconds to wait before each try to load; the first recovery begins at once.

    Args:
        attempt: how many recoveries there were before.
    """
    if attempt == 0:
        yield 0.0
    pause = FIRST_PAUSE_S * 2.0 ** max(attempt - 1, 0)
    while True:
        yield min(pause, _LONGEST_PAUSE_S)
        pause *= 2


class Recovery:
    """Loads a model on a thread of its own until it succeeds; a load that hangs blocks nothing else."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        attempt: int,
        report: Callable[[str], object],
        loaded: Callable[[], object],
    ) -> None:
        """Start.

        Args:
            load: gives the model; whatever it raises is reported, and it is tried again.
            attempt: how many recoveries there were before.
            report: told why loading failed.
            loaded: called once there is a model to take.
        """
        self._load, self._report, self._loaded = load, report, loaded
        self._pauses = pauses(attempt)
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
        """The model is no longer wanted; one that was loaded is freed."""
        self._cancelled.set()
        if (model := self.take()) is not None:
            model.close()

    def _run(self) -> None:
        for pause in self._pauses:
            if self._cancelled.wait(pause):
                return
            try:
                model = self._load()
            except Exception as error:  # noqa: BLE001 # a model is loaded again just when memory or files run short
                self._report(f"the model cannot be reloaded: {str(error) or type(error).__name__}")
                continue
            with self._lock:
                self._model = model
            if self._cancelled.is_set():
                self.cancel()
            else:
                self._loaded()
            return
