"""What ``m2a harvest`` is given, as replayed bags: folders of replays as they are, bags after replaying them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from m2a_core.bundle.loading import DEFAULT_MODEL, ModelBundle, load_bundle
from m2a_core.errors import ConfigError, DataError, ModelError
from m2a_core.files import read_json
from m2a_ros.bag.locations import locate
from m2a_ros.bag.reader import quick_fingerprint
from m2a_ros.bag.storage import METADATA, STORAGE_SUFFIXES
from m2a_ros.harvest.results import SUMMARY, ReplayedBag, is_replay, replayed_bags
from m2a_ros.replay.mode_settings import ModeSettings
from m2a_ros.replay.session import Request as ReplayRequest
from m2a_ros.replay.session import replay
from m2a_ros.review.layout import RUN
from m2a_ros.review.request import ReviewRequest

REPLAYS = "replay"


@dataclass(frozen=True)
class Workers:
    """Who does the work; see ``m2a harvest --help``."""

    executor: str = "local"
    workers: int | None = None
    threads: int | None = None


def replayed_sources(
    arguments: Sequence[str], out: Path, model: str | None, workers: Workers
) -> tuple[list[ReplayedBag], dict[Path, str]]:
    """The bags to harvest, and what kept others from being replayed.

    Bags are replayed in mode offline into ``out/replay``; what an earlier call replayed there is taken as it is.

    Args:
        arguments: folders of replays, bags, patterns.
        out: the harvest's folder.
        model: for bags that are replayed now; None for the default.
        workers: who replays them.

    Raises:
        ConfigError: a path is given twice.
        DataError: a replay is not finished, or no bag can be replayed.
    """
    folders = [Path(argument) for argument in arguments if is_replay(Path(argument))]
    rest = [argument for argument in arguments if not is_replay(Path(argument))]
    paths = list(locate(rest)) if rest else []
    for path in paths:
        if path.is_dir() and not any(p.name == METADATA or p.suffix in STORAGE_SUFFIXES for p in path.iterdir()):
            raise DataError(f"{path}: holds neither results of `m2a replay --out` ({RUN}) nor a bag ({METADATA})")
    given = [path.resolve() for path in (*folders, *paths)]
    twice = next((path for path in given if given.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice}: is given twice")
    found = [bag for folder in folders for bag in replayed_bags(folder)]
    if not paths:
        return found, {}
    bundle = load_bundle(model or DEFAULT_MODEL)
    done = _replayed_before(out / REPLAYS, bundle)
    found += [done[path.resolve()] for path in paths if path.resolve() in done]
    left = [path for path in paths if path.resolve() not in done]
    failed: dict[Path, str] = {}
    if left:
        folder = out / REPLAYS / _folder_name(left, bundle)
        _replay(left, folder, bundle, workers)
        summary = read_json(folder / SUMMARY)
        failed = {Path(bag["path"]): bag["error"] for bag in summary["failed_bags"]}
        found += replayed_bags(folder)
    return found, failed


def bundle_of(bags: Sequence[ReplayedBag], model: str | None) -> ModelBundle:
    """The bundle that all bags were replayed with.

    Args:
        bags: at least one.
        model: where it is; None for where the replay had it, or else the name it had.

    Raises:
        ConfigError: bags were replayed with different models, or the model is another one.
        ModelError: it cannot be found.
    """
    models = {bag.model["onnx_sha256"]: bag for bag in bags}
    if len(models) > 1:
        first, second, *_ = models.values()
        raise ConfigError(
            f"{first.results.parent} is of model '{first.model['name']}' ({first.model['onnx_sha256'][:12]}), "
            f"{second.results.parent} of '{second.model['name']}' ({second.model['onnx_sha256'][:12]}): what two "
            "models see cannot be compared; replay all bags with one"
        )
    bag = bags[0]
    where = model or (str(bag.model_path) if bag.model_path and bag.model_path.exists() else bag.model["name"])
    try:
        bundle = load_bundle(where)
    except ModelError as error:
        raise ModelError(f"{bag.results.parent}: its model is not at hand ({error}); give --model") from error
    if bundle.manifest.onnx_sha256 != bag.model["onnx_sha256"]:
        raise ConfigError(
            f"{bag.results.parent}: replayed with a model '{bag.model['name']}' of SHA-256 {bag.model['onnx_sha256']}, "
            f"and {where} is {bundle.manifest.onnx_sha256}; give the same with --model, or replay again"
        )
    return bundle


def _replayed_before(folder: Path, bundle: ModelBundle) -> dict[Path, ReplayedBag]:
    """Bags that earlier calls replayed with this model and that have not changed since."""
    found: dict[Path, ReplayedBag] = {}
    for summary in sorted(folder.glob(f"*/{SUMMARY}")):
        try:
            bags = replayed_bags(summary.parent)
        except DataError:
            continue
        for bag in bags:
            same = bag.model["onnx_sha256"] == bundle.manifest.onnx_sha256
            if same and bag.path.exists() and quick_fingerprint(bag.path) == bag.fingerprint:
                found[bag.path.resolve()] = bag
    return found


def _folder_name(paths: Sequence[Path], bundle: ModelBundle) -> str:
    """The same for the same bags, so that a killed replay goes on."""
    text = "\n".join([bundle.manifest.onnx_sha256, *sorted(str(path.resolve()) for path in paths)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _replay(paths: Sequence[Path], folder: Path, bundle: ModelBundle, workers: Workers) -> None:
    parameters: dict[str, object] = {"model": str(bundle.directory)}
    if workers.threads is not None:
        parameters["threads"] = workers.threads
    replay(
        ReplayRequest(
            tuple(paths),
            "offline",
            folder,
            (),
            ReviewRequest(),
            parameters,
            None,
            ModeSettings(),
            workers.executor,
            workers.workers,
        )
    )
