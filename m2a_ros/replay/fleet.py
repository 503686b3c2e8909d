"""Many bags on many workers: local processes, or a Ray cluster.

A worker evaluates one bag and leaves its results in the output folder, so a worker that dies costs its bag's unfinished
chunk, and results of any number of workers are those of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from m2a_core.errors import ConfigError
from m2a_core.extras import install_command

RETRIES = 2
"""How often a bag is tried again whose worker died."""


class Task(Protocol):
    """The work on one bag; goes to other processes and machines as it is."""

    @property
    def name(self) -> str:
        """Of the bag's results."""

    @property
    def out(self) -> Path:
        """The output folder, which every worker must reach by this path."""

    @property
    def cpus(self) -> int:
        """CPUs that it takes."""

    def work(self, progress: Callable[[int], object]) -> None:
        """Do it, going on where an earlier, killed call stopped.

        Args:
            progress: to be told how much was done since the last call.

        Raises:
            M2aError: it cannot be done.
            OSError: the results cannot be written.
        """


AnyTask = TypeVar("AnyTask", bound=Task)
Done = Callable[[AnyTask, str | None], None]
"""Told of each bag that is done, with the error that kept it from being evaluated."""


def run(tasks: Sequence[AnyTask], executor: str, workers: int | None, done: Done[AnyTask]) -> None:
    """Evaluate bags side by side.

    Args:
        tasks: the bags.
        executor: ``local`` or ``ray``.
        workers: bags at a time; None for one, or as many as a Ray cluster has CPUs.
        done: told of each bag.

    Raises:
        ConfigError: the executor is not installed.
    """
    if executor == "local":
        from m2a_ros.replay.fleet_local import run_local

        run_local(tasks, workers or 1, done)
        return
    # Ray tries a bag again without end whose worker it has killed because memory ran short.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(f"--executor ray: Ray is not installed; {install_command('fleet')}") from error
    from m2a_ros.replay.fleet_ray import run_ray

    run_ray(tasks, workers, done)


def died(times: int, how: str) -> str:
    """The error of a bag whose workers died."""
    return f"its worker died {times} times ({how}); look for the kernel's out-of-memory messages"
