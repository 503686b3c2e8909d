"""A process of its own for each bag, a few at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic

from m2a_core.errors import DataError, M2aError
from m2a_ros.replay.fleet import RETRIES, AnyTask, Done, Task, died

# Fork would copy the threads' locks of a process that has ONNX Runtime or ROS in it.
_CONTEXT = multiprocessing.get_context("spawn")
_TERMINATE_S = 15.0


@dataclass(frozen=True)
class _Job(Generic[AnyTask]):
    task: AnyTask
    attempt: int
    process: BaseProcess
    answer: Connection[Any, Any]


def run_local(tasks: Sequence[AnyTask], workers: int, done: Done[AnyTask]) -> None:
    """See ``fleet.run``."""
    queue = deque((task, 1) for task in tasks)
    jobs: list[_Job[AnyTask]] = []
    try:
        while queue or jobs:
            while queue and len(jobs) < workers:
                jobs.append(_start(*queue.popleft()))
            wait([job.process.sentinel for job in jobs])
            for job in [job for job in jobs if not job.process.is_alive()]:
                jobs.remove(job)
                job.process.join()
                try:
                    done(job.task, _received(job.answer))
                except EOFError:
                    # It died without a word.
                    if job.attempt <= RETRIES:
                        queue.append((job.task, job.attempt + 1))
                    else:
                        done(job.task, died(job.attempt, f"exit code {job.process.exitcode}"))
                job.answer.close()
    finally:
        for job in jobs:
            job.process.terminate()
        for job in jobs:
            job.process.join(_TERMINATE_S)


def _received(answer: Connection[Any, Any]) -> str | None:
    kind, text = answer.recv()
    if kind == "disk":
        raise OSError(text)
    return None if kind == "done" else text


def _start(task: AnyTask, attempt: int) -> _Job[AnyTask]:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(task, theirs), name=f"m2a-{task.name}")
    process.start()
    theirs.close()
    return _Job(task, attempt, process, ours)


def _work(task: Task, answer: Connection[Any, Any]) -> None:
    """In the worker: do the work, and say how it went."""
    # Ctrl-C reaches the whole group; the parent ends its workers in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        task.work(_stop_without_parent)
    except (DataError, M2aError) as error:
        answer.send(("error", str(error)))
    except OSError as error:
        answer.send(("disk", str(error)))
    except KeyboardInterrupt:
        return
    else:
        answer.send(("done", ""))


def _stop_without_parent(_: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt
