"""The evaluation of one bag: what a fleet hands to its workers, and what a single process does itself."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import read_json, write_json
from m2a_ros.bag.cameras import Choice, choose
from m2a_ros.bag.locations import is_remote
from m2a_ros.bag.reader import Bag, fingerprint, quick_fingerprint
from m2a_ros.node.model import LoadedModel
from m2a_ros.parameters.file import settings_of
from m2a_ros.replay.mode_settings import ModeSettings
from m2a_ros.replay.offline import replay_offline
from m2a_ros.replay.recorder import RESULT, BagRecorder

WORK = ".work"
_BAG = "bag.json"
Progress = Callable[[int], object]


@dataclass(frozen=True)
class BagTask:
    """One bag to evaluate; goes to other processes and machines as it is.

    Attributes:
        name: name of its folder of results.
        path: the bag.
        out: the output folder, which every worker must reach by this path.
        mode: ``offline``, ``lockstep``, ``realtime`` or ``peak``.
        wanted: topic -> camera, or empty; see ``cameras.choose``.
        parameters: the node's parameters that are not at their defaults, by full name.
        calibrated: whether the bag's ``camera_info`` is used: it is with a parameter file, which says where cameras
            sit.
        settings: what only some modes need.
        labels: topics that hold ground truth and no camera's images.
    """

    name: str
    path: Path
    out: Path
    mode: str
    wanted: dict[str, str]
    parameters: Mapping[str, Any]
    calibrated: bool
    settings: ModeSettings
    labels: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out / self.name

    @property
    def chunks(self) -> Path:
        """Where unfinished results are."""
        return self.out / WORK / self.name

    @property
    def cpus(self) -> int:
        """CPUs that its network takes."""
        return self.parameters.get("threads") or 1

    def work(self, progress: Progress) -> None:
        """See ``evaluate``."""
        evaluate(self, progress)


def finished(task: BagTask) -> dict[str, Any] | None:
    """The bag's ``result.json``, or None while it is not finished.

    Raises:
        ConfigError: the bag has changed since.
        DataError: the bag or the file cannot be read.
    """
    path = task.folder / RESULT
    if not path.is_file():
        return None
    result: dict[str, Any] = read_json(path)
    if result["fingerprint"] != quick_fingerprint(task.path):
        raise ConfigError(f"--out {task.out}: bag {task.path} has changed since it was evaluated; give another --out")
    return result


def evaluate(task: BagTask, progress: Progress) -> None:
    """Evaluate a bag, going on where an earlier, killed call stopped; leaves ``result.json``.

    Args:
        task: the bag.
        progress: told how many messages were done since the last call.

    Raises:
        ConfigError: another process works on the bag.
        DataError: the bag is damaged or has no usable topic.
        ModelError: the model is missing or damaged.
        OSError: the results cannot be written.
    """
    with _claimed(task.chunks), Bag(task.path) as bag:
        choice = choose(bag, task.wanted, task.labels)
        quick = _forget_old_parts(task)
        if is_remote(task.path):
            # Fetching all of it once more would cost as much as the evaluation.
            _replay(task, bag, choice, progress, lambda: {"fingerprint": quick, "sha256": None})
            return
        # The whole bag is hashed while it is evaluated: on its own that would take as long as reading it.
        stop = Event()
        with ThreadPoolExecutor(1, "m2a-fingerprint") as executor:
            sha256 = executor.submit(fingerprint, task.path, stop)
            try:
                _replay(task, bag, choice, progress, lambda: {"fingerprint": quick, "sha256": sha256.result()})
            finally:
                stop.set()


def _replay(
    task: BagTask, bag: Bag, choice: Choice, progress: Progress, identity: Callable[[], dict[str, Any]]
) -> None:
    cameras = tuple(topic.camera for topic in choice.used)
    settings = settings_of(task.parameters, cameras, "replay")
    manifest = load_bundle(settings.model, settings.trust).manifest
    threshold = settings.apply_thresholds(manifest.thresholds).anomaly
    with BagRecorder(task.folder, task.chunks, cameras, manifest.labels, threshold) as recorder:
        if task.mode == "offline":
            measured = {}
            model = LoadedModel(settings, warn=print)
            try:
                perception = model.perception(settings)
                replay_offline(bag, choice.used, perception, settings, task.calibrated, recorder, progress)
            finally:
                model.close()
        else:
            measured = _through_node(task, bag, choice, recorder, progress)
        recorder.finish(
            {
                **identity(),
                "topics": {topic.topic: topic.camera for topic in choice.used},
                "skipped_topics": dict(choice.skipped),
                **measured,
            }
        )


def _through_node(task: BagTask, bag: Bag, choice: Choice, recorder: BagRecorder, progress: Progress) -> dict[str, Any]:
    """Replay through the real node; what was measured, by the mode's name."""
    for topic in choice.used:
        if len(topic.types) > 1:
            raise DataError(
                f"bag {task.path}: {topic.topic} holds messages of {' and '.join(topic.types)}, and the node reads one "
                "type on a topic; replay it in mode offline, or name other topics with --topic"
            )
    # Only now: these import rclpy, which mode offline does without.
    from m2a_ros.replay.lockstep import replay_lockstep
    from m2a_ros.replay.node_session import NodeSettings
    from m2a_ros.replay.peak import replay_peak
    from m2a_ros.replay.realtime import replay_realtime

    settings = task.settings
    node = NodeSettings(task.parameters, task.calibrated, task.folder / "node")
    chosen = {topic.topic: topic.camera for topic in choice.used}
    if task.mode == "lockstep":
        replay_lockstep(bag, choice.used, node, settings.timeout_s, recorder, progress)
        return {}
    if task.mode == "realtime":
        figures = replay_realtime(task.path, chosen, choice.used, node, settings.rate, recorder, progress)
    else:
        trial = (settings.trial_frames, settings.repeats)
        figures = replay_peak(task.path, chosen, choice.used, node, trial, progress)
    return {task.mode: figures}


def _forget_old_parts(task: BagTask) -> str:
    """Drop the chunks of an earlier call that cannot be gone on with; returns the bag's fingerprint."""
    quick = quick_fingerprint(task.path)
    note = task.chunks / _BAG
    # The node numbers objects by all frames since it was started: it cannot go on in the middle of a bag.
    if task.mode != "offline" or not note.is_file() or read_json(note) != quick:
        shutil.rmtree(task.chunks, ignore_errors=True)
        write_json(note, quick)
    return quick


@contextmanager
def _claimed(chunks: Path) -> Iterator[None]:
    """Keep other processes off a bag; ends with the process, however that ends."""
    chunks.parent.mkdir(parents=True, exist_ok=True)
    with chunks.with_name(f"{chunks.name}.lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise ConfigError(
                f"{chunks.name}: process {lock.read().strip() or 'of another machine'} works on this bag in the same "
                "--out; wait for it, or give another --out"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
