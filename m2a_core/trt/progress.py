"""Progress of a build: TensorRT's phases as tqdm bars on a screen, as lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

from m2a_core.progress import INTERVAL as LOG_INTERVAL


class Bars:
    """A bar for each phase, phases within phases below it."""

    def __init__(self) -> None:
        """No phase yet."""
        self._bars: dict[str, tqdm] = {}

    def start(self, phase: str, outermost: bool, steps: int) -> None:
        """A phase begins."""
        self._bars[phase] = tqdm(total=steps, desc=phase, leave=outermost, position=len(self._bars))

    def step(self, phase: str, done: int) -> None:
        """So many steps of a phase are done."""
        bar = self._bars.get(phase)
        if bar is not None:
            bar.update(done - bar.n)

    def finish(self, phase: str) -> None:
        """A phase ends."""
        bar = self._bars.pop(phase, None)
        if bar is not None:
            bar.update(bar.total - bar.n)
            bar.close()

    def close(self) -> None:
        """The build ends."""
        for phase in list(self._bars):
            self._bars.pop(phase).close()


class Lines:
    """A line on stderr every ``LOG_INTERVAL``, also while a single step takes longer than that."""

    def __init__(self) -> None:
        """Begin."""
        self._phases: dict[str, tuple[int, int]] = {}
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def start(self, phase: str, outermost: bool, steps: int) -> None:
        """A phase begins."""
        self._phases[phase] = (0, steps)

    def step(self, phase: str, done: int) -> None:
        """So many steps of a phase are done."""
        if phase in self._phases:
            self._phases[phase] = (done, self._phases[phase][1])

    def finish(self, phase: str) -> None:
        """A phase ends."""
        self._phases.pop(phase, None)

    def close(self) -> None:
        """The build ends."""
        self._ended.set()
        self._thread.join()

    def _tell(self) -> None:
        while not self._ended.wait(LOG_INTERVAL):
            phases = ", ".join(f"{name} {done}/{steps}" for name, (done, steps) in self._phases.copy().items())
            print(f"{time.monotonic() - self._began:.0f} s: {phases or 'building'}", file=sys.stderr, flush=True)


def progress_monitor(trt: Any) -> Any:
    """An ``IProgressMonitor`` of this TensorRT; a context manager around the build.

    Control-C ends the build at the next step and sets ``interrupted``.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.shown = Bars() if sys.stderr.isatty() else Lines()
            self.interrupted = False

        def __enter__(self) -> Any:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
        ) -> None:
            self.shown.close()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.shown.start(phase_name, parent_phase is None, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            self.shown.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                self.shown.step(phase_name, step + 1)
            except KeyboardInterrupt:
                # An exception cannot pass through TensorRT; it is raised again after the build.
                self.interrupted = True
            return not self.interrupted

    return Monitor()
