"""Child processes that never outlive their parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

from m2a_core.errors import M2aError

PATIENCE_S = 15.0


class ChildError(M2aError):
    """A child process failed, ended early or did not answer."""


class Child:
    """A Python module run as a process of its own; its stderr goes to a file.

    Attributes:
        name: for messages.
        log: file with its stderr, and its stdout where that is not read.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        reads_stdout: bool,
        takes_orders: bool = False,
    ) -> None:
        """Start ``python -m`` with the arguments.

        Args:
            name: for messages.
            arguments: module and its arguments.
            environment: the process's environment.
            log: file to write to.
            reads_stdout: keep stdout for ``next_line``.
            takes_orders: its stdin takes what ``order`` sends.
        """
        self.name = name
        self.log = log
        self._unread = b""
        with log.open("w", encoding="utf-8") as file:
            # A session of its own: Ctrl-C reaches only the demo, which then ends its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE if takes_orders else subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads_stdout else file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def next_line(self, seconds: float) -> str | None:
        """The next line of its stdout without the line end, "" once it is closed; None when none comes in time."""
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                return None
            block = os.read(self._process.stdout.fileno(), 4096)
            if not block:
                return ""
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def order(self, line: str) -> None:
        """Write a line to its stdin.

        Raises:
            ChildError: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ChildError(f"the {self.name} has ended:\n{self.log_tail()}") from error

    def finish(self) -> int:
        """Interrupt it, wait, and return its exit code; kill it when it does not end by itself."""
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(how)
                try:
                    self._process.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    continue
            break
        for stream in (self._process.stdout, self._process.stdin):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        return self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its own end.

        Raises:
            ChildError: it goes on for longer.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"the {self.name} did not end within {seconds:g} s:\n{self.log_tail()}") from error

    def log_tail(self, lines: int = 8) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


class Children:
    """Ends every child when the block is left, however that happens."""

    def __init__(self) -> None:
        """Start with none."""
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        reads_stdout: bool,
        takes_orders: bool = False,
    ) -> Child:
        """Start a child, as ``Child`` does, and take care of it."""
        with interrupts_deferred():
            self._children.append(Child(name, arguments, environment, log, reads_stdout, takes_orders))
        return self._children[-1]

    def __enter__(self) -> Children:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the children, the latest first."""
        with interrupts_deferred():
            for child in reversed(self._children):
                child.finish()


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is left: a child must not be lost between start and bookkeeping."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    # A handler, not a mask: children would inherit a mask and never see SIGINT.
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside the block, so that children are ended then, too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
