"""Bags as tasks of Ray: of the cluster that is running, else of one started on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import ray
from ray.exceptions import RayError

from m2a_core.errors import ConfigError, M2aError
from m2a_ros.replay.fleet import RETRIES, AnyTask, Done, Task, died

_STARTS = 3
"""How often a cluster is started on this machine before it is an error."""
_REGISTRATION_S = "120"
"""How long a cluster that is started may take to know its own machine; Ray's 10 s are short on a busy one."""


def run_ray(tasks: Sequence[AnyTask], workers: int | None, done: Done[AnyTask]) -> None:
    """See ``fleet.run``. A cluster that this process is connected to is used and left running."""
    ours = not ray.is_initialized()
    cpus = max((task.cpus for task in tasks), default=1)
    if ours:
        connect(cpus * workers if workers else None)
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


def connect(cpus: int | None) -> None:
    """Connect this process to the cluster of RAY_ADDRESS; without it, to one of this machine, else start one here.

    Args:
        cpus: of a cluster that is started; None for those of the machine.

    Raises:
        ConfigError: no cluster answers at RAY_ADDRESS, or none can be started.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named != "local":
        try:
            ray.init(address="auto", log_to_driver=False)
            return
        except (ConnectionError, RuntimeError, ValueError) as error:
            # Nobody has named a cluster, and none is there: the one case in which to start one.
            if named or not isinstance(error, ConnectionError):
                cluster = f"the cluster of RAY_ADDRESS={named}" if named else "the cluster that runs on this machine"
                raise ConfigError(
                    f"--executor ray: {cluster}: {error}; RAY_ADDRESS=local starts one on this machine"
                ) from error
    _start(cpus)


def _start(cpus: int | None) -> None:
    # Ray gives its own programs 15 s to start and has no option for it (ray-project/ray 65983). On a busy machine their
    # imports can take longer; the next try finds the files in memory. What a failed try leaves behind ends with this
    # process.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", _REGISTRATION_S)
    for left in reversed(range(_STARTS)):
        try:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
            return
        except Exception as error:
            # Of no narrower type where the machine is too slow.
            if not left:
                raise ConfigError(
                    f"--executor ray: a cluster on this machine did not start in {_STARTS} tries ({error}); the reason "
                    "is in logs/raylet.err of Ray's latest session, by default below /tmp/ray; try again when the "
                    "machine is less busy, or use --workers without --executor ray"
                ) from error


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
