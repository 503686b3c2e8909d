"""Progress of long work, one rule for all commands: a bar on a terminal, elsewhere a line every ten seconds.

A log, a pipe or a file thus holds a few lines, not thousands of redrawn bars, and is never silent for minutes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

INTERVAL = 10.0
"""Seconds between two lines."""

_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s in {elapsed}{postfix}"
_TICK = 1.0


class ProgressBar(tqdm):
    """``tqdm`` with all its arguments; elsewhere than on a terminal, work shorter than `INTERVAL` prints nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin; arguments as tqdm's."""
        self._in_lines, self._interval = not sys.stderr.isatty(), INTERVAL
        self._last_line, self._printed = time.monotonic(), -1
        self._ended = threading.Event()
        # None means "only on a terminal" to tqdm.
        kwargs["disable"] = bool(kwargs.get("disable"))
        if self._in_lines:
            # A delay keeps tqdm from drawing at once; the rest has it ask for every step, which `display` decides on.
            kwargs = {"bar_format": _LINE, **kwargs, "mininterval": 0, "delay": 1e-9, "miniters": 1}
        super().__init__(*args, **kwargs)
        if not self.disable:
            # A single step may take longer than the interval.
            threading.Thread(target=self._tick, daemon=True).start()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or print a line if the last one is long enough ago."""
        if not self._in_lines:
            return bool(super().display(msg, pos))
        due = time.monotonic() - self._last_line >= self._interval
        if due:
            self._print_line()
        return due

    def clear(self, nolock: bool = False) -> None:
        """Make room for other output; lines need none."""
        if not self._in_lines:
            super().clear(nolock)

    def close(self) -> None:
        """End; after other lines, a last one says what was done."""
        self._ended.set()
        if self._in_lines and not self.disable:
            if 0 <= self._printed < self.n:
                self._print_line()
            # tqdm then draws no more.
            self.sp = None
        super().close()

    def _print_line(self) -> None:
        self._last_line, self._printed = time.monotonic(), self.n
        print(str(self).rstrip(), file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._ended.wait(min(_TICK, self._interval)):
            self.refresh()


@contextmanager
def stages(what: str) -> Iterator[Callable[[str], None]]:
    """Progress of work without countable steps: shows its stage and the time it takes.

    Args:
        what: the work.

    Yields:
        To be called with the name of each stage as it begins.
    """
    with ProgressBar(bar_format="{desc}: {elapsed}", leave=False) as bar:
        yield lambda stage: bar.set_description_str(f"{what}: {stage}")
