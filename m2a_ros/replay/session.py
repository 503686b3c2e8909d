"""A whole replay: what is asked for, what was done already, and the summary."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from m2a_core import __version__
from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import read_json, write_json
from m2a_core.perception import Perception
from m2a_core.progress import ProgressBar
from m2a_core.runtime.factory import create_runtime
from m2a_ros.bag.cameras import Choice, choose, parse_topics
from m2a_ros.bag.reader import Bag
from m2a_ros.parameters.file import settings_of
from m2a_ros.parameters.launch_support import cameras_of_parameters
from m2a_ros.parameters.settings import Settings
from m2a_ros.replay import fleet
from m2a_ros.replay.mode_settings import ModeSettings
from m2a_ros.replay.outcome import join_records
from m2a_ros.replay.recorder import RESULT
from m2a_ros.replay.report import Outcome, outcome_of
from m2a_ros.replay.task import WORK, BagTask, evaluate, finished
from m2a_ros.review.layout import RUN
from m2a_ros.review.request import ReviewRequest, Source
from m2a_ros.review.session import Review

FORMAT = 1
_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see ``m2a replay --help``."""

    bags: tuple[Path, ...]
    mode: str
    out: Path
    topics: tuple[str, ...]
    review: ReviewRequest
    parameters: Mapping[str, Any]
    params_file: Path | None
    settings: ModeSettings
    executor: str = "local"
    workers: int | None = None


def replay(request: Request) -> Outcome:
    """Replay all bags, going on where an earlier call with the same request stopped.

    Of several bags, those that cannot be evaluated are reported and the others evaluated.

    Raises:
        ConfigError: arguments contradict each other or the replay that DIR holds.
        DataError: a bag is damaged or has no usable topic and there is no other, or the ground truth does not fit.
        ModelError: the model is missing or damaged.
        OSError: DIR cannot be written.
    """
    wanted = parse_topics(request.topics)
    names = _names(request.bags)
    node = settings_of(request.parameters, _listed_cameras(request), _source(request))
    bundle = load_bundle(node.model, node.trust)
    failures = Failures(request.bags)
    choices = {}
    for path in request.bags:
        with failures.of(path), Bag(path) as bag:
            choices[path] = _choose(bag, wanted, request)
    sources = [
        Source(names[path], path, choice.used, _rectified(request, choice, node)) for path, choice in choices.items()
    ]
    review = Review(request.review, sources, request.out / WORK / ".truth")
    identity = _identity(request, bundle, node)
    _claim(request.out, identity)
    summary_file = request.out / _SUMMARY
    if summary_file.is_file() and not (summary := read_json(summary_file))["failed_bags"]:
        return outcome_of(summary, request.out)
    tasks = [
        BagTask(
            names[path],
            path,
            request.out,
            request.mode,
            {topic.topic: topic.camera for topic in choice.used} if _lists_cameras(request) else wanted,
            {**request.parameters, "model": str(bundle.directory)},
            request.params_file is not None,
            request.settings,
            request.review.label_topics,
        )
        for path, choice in choices.items()
    ]
    _evaluate_all(request, tasks, choices, failures)
    done = [task for task in tasks if task.path not in failures.errors]
    latencies, digest = join_records([task.folder for task in done], request.out)
    review.keep({task.name for task in done})
    truth = review.score(request.out, node.apply_thresholds(bundle.manifest.thresholds).anomaly)
    if truth is not None and request.review.scores:
        perception = Perception(bundle.manifest, create_runtime(bundle, node.backend, node.threads))
        truth["scores"] = review.compare_scores(request.out, perception)
        perception.close()
    summary = {
        "format": FORMAT,
        **{key: value for key, value in identity.items() if key != "bags"},
        "model_path": str(bundle.directory.resolve()),
        "hash": digest,
        "bags": [{"name": task.name, "path": str(task.path), **read_json(task.folder / RESULT)} for task in done],
        "failed_bags": [{"path": str(path), "error": error} for path, error in failures.errors.items()],
        "latencies_ms": latencies,
        "truth": truth,
    }
    review.report(request.out, summary, bundle.manifest.labels)
    review.close()
    write_json(summary_file, summary)
    if not failures.errors:
        shutil.rmtree(request.out / WORK, ignore_errors=True)
    return outcome_of(summary, request.out)


def _source(request: Request) -> str:
    return f"--params-file {request.params_file}" if request.params_file else "m2a replay"


def _listed_cameras(request: Request) -> list[str]:
    """The cameras of the parameter file, or one that stands for all."""
    return cameras_of_parameters(request.params_file or "", request.parameters)


def _rectified(request: Request, choice: Choice, node: Settings) -> frozenset[str]:
    """The cameras whose results are of rectified images."""
    cameras = [topic.camera for topic in choice.used]
    settings = node if _lists_cameras(request) else settings_of(request.parameters, cameras, _source(request))
    return frozenset(camera for camera in cameras if settings.stream(camera).has_rectified_maps)


def _lists_cameras(request: Request) -> bool:
    return "cameras" in request.parameters


def _choose(bag: Bag, wanted: Mapping[str, str], request: Request) -> Choice:
    """The topics to evaluate, under the names that the parameter file gives its cameras, if it lists any."""
    choice = choose(bag, wanted, request.review.label_topics)
    if not _lists_cameras(request):
        return choice
    listed = _listed_cameras(request)
    used = choice.used
    if len(used) == len(listed) == 1 and not wanted:
        used = (replace(used[0], camera=listed[0]),)
    known = tuple(topic for topic in used if topic.camera in listed)
    if not known:
        topics = ", ".join(f"{topic.topic} ({topic.camera})" for topic in used)
        raise ConfigError(
            f"{_source(request)}: lists the cameras {listed}, bag {bag.path} has {topics}; say which is which with "
            "--topic /TOPIC=CAMERA"
        )
    skipped = {topic.topic: "not among the parameter file's cameras" for topic in used if topic not in known}
    return Choice(known, {**choice.skipped, **skipped})


class Failures:
    """Bags that cannot be evaluated, and why.

    Attributes:
        errors: bag -> what is wrong with it.
    """

    def __init__(self, bags: Sequence[Path]) -> None:
        """Start with none; ``bags`` are all that are asked for."""
        self._total = len(bags)
        self.errors: dict[Path, str] = {}

    @contextmanager
    def of(self, path: Path) -> Iterator[None]:
        """Keep an error of this bag; raise it if now no bag is left."""
        try:
            yield
        except DataError as error:
            self.add(path, str(error))

    def add(self, path: Path, error: str) -> None:
        """Keep an error of this bag.

        Raises:
            DataError: now no bag is left.
        """
        self.errors[path] = error
        if len(self.errors) == self._total:
            raise DataError("; ".join(self.errors.values()))


def _evaluate_all(
    request: Request, tasks: Sequence[BagTask], choices: Mapping[Path, Choice], failures: Failures
) -> None:
    left = []
    for task in tasks:
        with failures.of(task.path):
            if finished(task) is None:
                left.append(task)
    if request.executor == "local" and (request.workers or 1) == 1:
        with ProgressBar(
            total=_images(tasks, choices), initial=_images(tasks, choices) - _images(left, choices), unit="frame"
        ) as progress:
            for task in left:
                with failures.of(task.path):
                    evaluate(task, progress.update)
    elif left:
        with ProgressBar(total=len(tasks), initial=len(tasks) - len(left), unit="bag") as progress:
            _run_fleet(request, left, failures, progress.update)


def _run_fleet(
    request: Request, tasks: Sequence[BagTask], failures: Failures, progress: Callable[[int], object]
) -> None:
    paths = {task.name: task.path for task in tasks}

    def done(task: BagTask, error: str | None) -> None:
        progress(1)
        if error is not None:
            failures.add(paths[task.name], error)

    # Workers have working directories of their own.
    absolute = [replace(task, path=task.path.resolve(), out=task.out.resolve()) for task in tasks]
    fleet.run(absolute, request.executor, request.workers, done)


def _images(tasks: Sequence[BagTask], choices: Mapping[Path, Choice]) -> int:
    return sum(topic.count for task in tasks for topic in choices[task.path].used)


def _names(bags: tuple[Path, ...]) -> dict[Path, str]:
    """A folder name for each bag: its own name without ending, numbered where two share one."""
    names: dict[Path, str] = {}
    for path in bags:
        if path.resolve() in (other.resolve() for other in names):
            raise ConfigError(f"bag {path} is given twice")
        # A bag may be called "...mcap".
        stem = path.resolve().stem.strip(".") or "bag"
        name, number = stem, 1
        while name in names.values():
            number += 1
            name = f"{stem}_{number}"
        names[path] = name
    return names


def _identity(request: Request, bundle: ModelBundle, node: Settings) -> dict[str, Any]:
    """All that the outcome depends on."""
    packages = {"numpy": np.__version__, "opencv": cv2.__version__, "onnxruntime": onnxruntime.__version__}
    return {
        "mode": request.mode,
        "settings": asdict(request.settings),
        "bags": [str(path.resolve()) for path in request.bags],
        "topics": list(request.topics),
        **request.review.identity(),
        "model": {"name": bundle.manifest.name, "onnx_sha256": bundle.manifest.onnx_sha256},
        "thresholds": asdict(node.apply_thresholds(bundle.manifest.thresholds)),
        "temporal": {"hold": node.low_threshold},
        "backend": node.backend,
        "threads": node.threads,
        "parameters": None if request.params_file is None else dict(request.parameters),
        "versions": {
            "m2a": __version__,
            "python": platform.python_version(),
            "rosbags": version("rosbags"),
            **packages,
        },
        "machine": platform.machine(),
    }


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Note down what the folder is for, or check that it is for this."""
    path = out / RUN
    if not path.is_file():
        write_json(path, identity)
        return
    have = read_json(path)
    other = [key for key in identity if not isinstance(have, dict) or have.get(key) != identity[key]]
    if other:
        raise ConfigError(
            f"--out {out}: holds a replay that differs in {', '.join(other)} ({path}); give another --out, or delete "
            "the folder to start again"
        )
