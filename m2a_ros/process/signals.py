"""Signals that end a process: the first one does, in order and in time, and those that follow do not disturb it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
END_S = 2.5
"""From the signal to the forced end."""
_SPARE_S = 0.45
"""For a busy machine to write down where each thread was; both together stay below 3 s, as promised."""


def end_at_once() -> None:
    """Let SIGINT and SIGTERM end the process with code 0 and without a word: there is nothing to clean up yet.

    Call it in the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        for each in ENDING:
            signal.signal(each, lambda number, frame: os._exit(0))


def end_in_time(seconds: float = END_S) -> None:
    """Let a process that SIGINT or SIGTERM did not end in time end all the same, with code 1.

    Whatever hangs, the main thread in a library included; except for a library that never gives Python's lock back and
    had it before the signal came. Where each thread was goes to standard error. Call it in the main thread.

    Args:
        seconds: from the signal to the end.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while not set(ENDING) & set(os.read(reader, 64)):
            pass
        # Where this thread gets no turn any more, the kernel's alarm ends the process.
        signal.setitimer(signal.ITIMER_REAL, seconds + _SPARE_S)
        time.sleep(seconds)
        print(f"m2a_node: not ended {seconds:g} s after the signal, ending now; what ran:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback()
        os._exit(1)

    threading.Thread(target=watch, name="m2a_end", daemon=True).start()


def leave(code: int) -> NoReturn:
    """End the process without the clean-up of Python and of libraries, once everything of this project has ended.

    A thread that is still in ROS or in a back end would abort the process meanwhile, or hold it up.

    Args:
        code: of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


_came: list[int] = []


def raise_if_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` if a signal came that ``interrupt_once`` has raised for already.

    Python drops exceptions of destructors and of callbacks from C, and with them the interrupt.
    """
    if interrupted():
        raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether a signal came that ``interrupt_once`` has raised for."""
    return bool(_came)


def interrupt_once() -> None:
    """Let the first SIGINT or SIGTERM raise ``KeyboardInterrupt``, and ignore all after it.

    A supervisor and a user's second Ctrl-C would else end the process in the middle of its clean-up, or of Python's.
    Call it in the main thread, before ROS sets handlers of its own.
    """

    def end(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for each in ENDING:
            signal.signal(each, end)
