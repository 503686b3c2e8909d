"""Signals that end a process: the first one does, in order, and those that follow do not disturb it."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """Let SIGINT and SIGTERM end the process with code 0 and without a word: there is nothing to clean up yet.

    Call it in the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        for each in ENDING:
            signal.signal(each, lambda number, frame: os._exit(0))


_came: list[int] = []


def raise_if_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` if a signal came that ``interrupt_once`` has raised for already.

    Python drops exceptions of destructors and of callbacks from C, and with them the interrupt.
    """
    if _came:
        raise KeyboardInterrupt


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
