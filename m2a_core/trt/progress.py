"""Progress of a build on the screen: TensorRT's phases as tqdm bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_SLOW_REFRESH = 10.0
"""Seconds between two lines where the output is a file: the log of a container's build is not silent, nor full."""


def progress_monitor(trt: Any) -> Any:
    """An ``IProgressMonitor`` of this TensorRT.

    Each phase gets a bar on stderr, phases within phases below it. Control-C ends the build at the next step.
    """
    interval = 0.1 if sys.stderr.isatty() else _SLOW_REFRESH

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.bars: dict[str, tqdm] = {}
            self.interrupted = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.bars[phase_name] = tqdm(
                total=num_steps,
                desc=phase_name,
                leave=parent_phase is None,
                position=len(self.bars),
                mininterval=interval,
            )

        def phase_finish(self, phase_name: str) -> None:
            bar = self.bars.pop(phase_name, None)
            if bar is not None:
                bar.update(bar.total - bar.n)
                bar.close()

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                bar = self.bars.get(phase_name)
                if bar is not None:
                    bar.update(step + 1 - bar.n)
            except KeyboardInterrupt:
                # An exception cannot pass through TensorRT; it is raised again after the build.
                self.interrupted = True
            return not self.interrupted

    return Monitor()
