"""Bags as tasks of Ray: of the cluster that is running, else of one started on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import ray
from ray.exceptions import RayError

from m2a_core.errors import ConfigError, M2aError
from m2a_ros.replay.fleet import RETRIES, AnyTask, Done, Task, died


def run_ray(tasks: Sequence[AnyTask], workers: int | None, done: Done[AnyTask]) -> None:
    """See ``fleet.run``. A cluster that this process is connected to is used and left running."""
    ours = not ray.is_initialized()
    cpus = max((task.cpus for task in tasks), default=1)
    if ours:
        _connect(cpus * workers if workers else None)
    try:
        # Ray would wait for ever for a machine that is large enough.
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        if largest < cpus:
            raise ConfigError(
                f"--executor ray: a bag takes {cpus} CPUs (parameter threads), and no machine of the cluster has more "
                f"than {largest}; lower threads"
            )
        _run(tasks, workers or max(1, int(ray.cluster_resources().get("CPU", 1))), done)
    finally:
        if ours:
            ray.shutdown()


def _connect(cpus: int | None) -> None:
    # RAY_ADDRESS, or a cluster that was started on this machine.
    if os.environ.get("RAY_ADDRESS") != "local":
        with suppress(ConnectionError):
            ray.init(address="auto", log_to_driver=False)
            return
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)


def _run(tasks: Sequence[AnyTask], workers: int, done: Done[AnyTask]) -> None:
    # Errors of the bag come back as values: only a worker's death is worth another try, and Ray sees to that.
    remote = ray.remote(max_retries=RETRIES, retry_exceptions=False)(_work)
    waiting = list(reversed(tasks))
    running: dict[ray.ObjectRef[str | None], AnyTask] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            task = waiting.pop()
            running[remote.options(name=task.name, num_cpus=task.cpus).remote(task)] = task
        finished, _ = ray.wait(list(running), num_returns=1)
        for reference in finished:
            task = running.pop(reference)
            try:
                error = ray.get(reference)
            except RayError as failure:
                error = died(RETRIES + 1, type(failure).__name__)
            done(task, error)


def _work(task: Task) -> str | None:
    """In the worker: do a bag's work; its error, if it cannot be done."""
    if not task.out.is_dir():
        raise ConfigError(f"--out {task.out}: this worker cannot see the folder; it must be shared by all machines")
    try:
        task.work(lambda _: None)
    except M2aError as error:
        return str(error)
    return None
