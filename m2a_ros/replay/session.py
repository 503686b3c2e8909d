"""A whole replay: what is asked for, what was done already, and the summary."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from tqdm import tqdm

from m2a_core import __version__
from m2a_core.bundle import ModelBundle, load_bundle
from m2a_core.errors import ConfigError
from m2a_core.perception import Perception
from m2a_core.runtime.factory import create_runtime
from m2a_ros.replay.cameras import Choice, choose, parse_topics
from m2a_ros.replay.files import read_json, write_json
from m2a_ros.replay.offline import replay_bag
from m2a_ros.replay.outcome import Replayed, finish_bag, join_records, remove_parts
from m2a_ros.replay.reader import Bag, fingerprint
from m2a_ros.replay.report import Outcome, outcome_of
from m2a_ros.replay.truth import TruthFolder

FORMAT = 1
_RUN, _SUMMARY, _WORK = "run.json", "summary.json", ".work"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see ``m2a replay --help``."""

    bags: tuple[Path, ...]
    mode: str
    out: Path
    topics: tuple[str, ...]
    truth: Path | None
    model: str
    backend: str
    threads: int | None


def replay(request: Request) -> Outcome:
    """Replay all bags, going on where an earlier call with the same request stopped.

    Raises:
        ConfigError: arguments contradict each other or the replay that DIR holds.
        DataError: a bag is damaged or has no usable topic, or the ground truth does not fit.
        EngineError: the model is missing or damaged.
        OSError: DIR cannot be written.
    """
    wanted = parse_topics(request.topics)
    names = _names(request.bags)
    bundle = load_bundle(request.model)
    choices = {}
    for path in request.bags:
        with Bag(path) as bag:
            choices[path] = choose(bag, wanted)
    cameras = list(dict.fromkeys(topic.camera for choice in choices.values() for topic in choice.used))
    truth = TruthFolder(request.truth, cameras) if request.truth else None
    identity = _identity(request, bundle)
    _claim(request.out, identity)
    summary_file = request.out / _SUMMARY
    if summary_file.is_file():
        return outcome_of(read_json(summary_file), request.out)
    bags = [
        Replayed(names[path], request.out / _WORK / names[path], tuple(t.camera for t in choices[path].used))
        for path in request.bags
    ]
    _evaluate_all(request, bundle, choices, bags)
    sections = [
        {"path": str(path), "sha256": sha, **_topics(choices[path]), **finish_bag(bag, request.out, truth)}
        for path, sha, bag in zip(request.bags, identity["bags"].values(), bags, strict=True)
    ]
    latencies, digest = join_records(bags, request.out)
    summary = {
        "format": FORMAT,
        **{key: value for key, value in identity.items() if key != "bags"},
        "hash": digest,
        "bags": sections,
        "latencies_ms": latencies,
        "truth": truth.summary() if truth else None,
    }
    write_json(summary_file, summary)
    remove_parts(bags)
    (request.out / _WORK).rmdir()
    return outcome_of(summary, request.out)


def _evaluate_all(request: Request, bundle: ModelBundle, choices: Mapping[Path, Choice], bags: list[Replayed]) -> None:
    total = sum(topic.count for choice in choices.values() for topic in choice.used)
    perception = Perception(bundle.manifest, create_runtime(bundle, request.backend, request.threads))
    try:
        with tqdm(total=total, unit="frame", disable=None) as progress:
            for path, replayed in zip(request.bags, bags, strict=True):
                with Bag(path) as bag:
                    replay_bag(bag, choices[path].used, perception, replayed.parts, progress.update)
    finally:
        perception.close()


def _names(bags: tuple[Path, ...]) -> dict[Path, str]:
    """A folder name for each bag: its own name without ending, numbered where two share one."""
    names: dict[Path, str] = {}
    for path in bags:
        if path.resolve() in (other.resolve() for other in names):
            raise ConfigError(f"bag {path} is given twice")
        name, number = path.resolve().stem, 1
        while name in names.values():
            number += 1
            name = f"{path.resolve().stem}_{number}"
        names[path] = name
    return names


def _identity(request: Request, bundle: ModelBundle) -> dict[str, Any]:
    """All that the outcome depends on."""
    packages = {"numpy": np.__version__, "opencv": cv2.__version__, "onnxruntime": onnxruntime.__version__}
    return {
        "mode": request.mode,
        "bags": {str(path.resolve()): fingerprint(path) for path in request.bags},
        "topics": list(request.topics),
        "ground_truth": str(request.truth.resolve()) if request.truth else None,
        "model": {"name": bundle.manifest.name, "onnx_sha256": bundle.manifest.onnx_sha256},
        "thresholds": asdict(bundle.manifest.thresholds),
        "backend": request.backend,
        "threads": request.threads,
        "versions": {
            "m2a": __version__, "python": platform.python_version(), "rosbags": version("rosbags"), **packages,
        },
        "machine": platform.machine(),
    }  # fmt: skip


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Note down what the folder is for, or check that it is for this."""
    path = out / _RUN
    if not path.is_file():
        write_json(path, identity)
        return
    have = read_json(path)
    other = [key for key in identity if not isinstance(have, dict) or have.get(key) != identity[key]]
    if other:
        raise ConfigError(
            f"--out {out}: holds a replay that differs in {', '.join(other)} ({path}); give another --out, or delete "
            "the folder to start anew"
        )


def _topics(choice: Choice) -> dict[str, Any]:
    return {
        "topics": {topic.topic: topic.camera for topic in choice.used},
        "skipped_topics": dict(choice.skipped),
    }
