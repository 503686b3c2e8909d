"""Many bags on many workers: local processes, or an engine that is there already.

A worker evaluates one bag and leaves its results in the output folder, so a worker that dies costs its bag's unfinished
part, and results of any number of workers are those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from m2a_core.errors import ConfigError
from m2a_core.extras import install_command
from m2a_ros.replay.task import BagTask

RETRIES = 2
"""How often a bag is tried again whose worker died."""

Done = Callable[[BagTask, str | None], None]
"""Told of each bag that is done, with the error that kept it from being evaluated."""


def run(tasks: Sequence[BagTask], engine: str, workers: int | None, done: Done) -> None:
    """Evaluate bags side by side.

    Args:
        tasks: the bags.
        engine: ``local`` or ``ray``.
        workers: bags at a time; None for one, or as many as a Ray cluster has CPUs.
        done: told of each bag.

    Raises:
        ConfigError: the engine is not installed.
    """
    if engine == "local":
        from m2a_ros.replay.fleet_local import run_local

        run_local(tasks, workers or 1, done)
        return
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(f"--engine ray: Ray is not installed; {install_command('fleet')}") from error
    from m2a_ros.replay.fleet_ray import run_ray

    run_ray(tasks, workers, done)


def died(times: int, how: str) -> str:
    """The error of a bag whose workers died."""
    return f"its worker died {times} times ({how}); look for the kernel's out-of-memory messages"
