"""A whole harvest: bags are replayed where they were not, harvested one by one, joined, and shown in a gallery."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from m2a_core.bundle.loading import ModelBundle
from m2a_core.errors import ConfigError, DataError
from m2a_core.harvest.blur import blurred_classes
from m2a_core.harvest.encoders import encoder_name
from m2a_core.harvest.folder import GALLERY, Harvest, write_info
from m2a_core.harvest.gallery import write_gallery
from m2a_core.harvest.joining import Joined, join
from m2a_core.progress import ProgressBar, stages
from m2a_core.reporting.page import count
from m2a_ros.harvest.sources import Workers, bundle_of, replayed_sources
from m2a_ros.harvest.task import HarvestTask
from m2a_ros.replay import fleet

_LOCK = ".lock"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see ``m2a harvest --help``."""

    sources: tuple[str, ...]
    out: Path
    model: str | None
    encoder: Path | None
    keep_frames: bool
    blur: tuple[str, ...]
    min_cluster: int
    workers: Workers


@dataclass(frozen=True)
class Outcome:
    """How a harvest ended.

    Attributes:
        joined: what is in it.
        bags: bags that it is of.
        failed: bag -> why it is not in it.
        gallery: the page.
    """

    joined: Joined
    bags: int
    failed: Mapping[Path, str]
    gallery: Path

    @property
    def text(self) -> str:
        """For the terminal."""
        own = self.joined.records - self.joined.duplicates
        lines = [f"NOT harvested: {error}" for error in self.failed.values()]
        lines += [
            f"{count(own, 'unknown object')} in {count(self.bags, 'bag')}; "
            f"{count(self.joined.duplicates, 'further track')} of the same objects",
            f"{count(self.joined.clusters, 'cluster')}, {count(self.joined.unclustered, 'object')} in no cluster",
            f"gallery: {self.gallery}",
        ]
        return "\n".join(lines)


def harvest(request: Request) -> Outcome:
    """Harvest, going on where an earlier call stopped.

    Bags that cannot be harvested are reported and the others harvested.

    Raises:
        ConfigError: bags are of different models, or another process works on the folder.
        DataError: no bag is left, or a replay is not finished.
        ModelError: the model or the encoder cannot be used.
        OSError: the folder cannot be written.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    with _claimed(request.out):
        bags, failed = replayed_sources(request.sources, request.out, request.model, request.workers)
        bundle = bundle_of(bags, request.model)
        blur = blurred_classes(request.blur, bundle.manifest.labels.names)
        embedding = encoder_name(bundle, request.encoder)
        tasks = [
            HarvestTask(
                request.out,
                bag,
                bundle.directory,
                request.encoder,
                request.keep_frames,
                request.workers.threads,
                embedding,
            )
            for bag in bags
        ]
        _work(tasks, request.workers, failed)
        done = [task for task in tasks if task.replayed.path not in failed]
        with stages("joining") as stage:
            stage("clusters")
            joined = join(request.out, [task.file for task in done], request.min_cluster)
            _describe(request, bundle, embedding, done, joined)
            stage("gallery")
            write_gallery(Harvest.open(request.out), bundle.manifest.labels, blur)
    return Outcome(joined, len(done), failed, request.out / GALLERY)


def _describe(
    request: Request, bundle: ModelBundle, embedding: str, done: Sequence[HarvestTask], joined: Joined
) -> None:
    settings = {
        "embedding": embedding,
        "min_cluster": request.min_cluster,
        "keep_frames": request.keep_frames,
        "blur": list(request.blur),
    }
    model = {"name": bundle.manifest.name, "onnx_sha256": bundle.manifest.onnx_sha256}
    bags = sorted({(task.replayed.name, str(task.replayed.path)) for task in done})
    more = {
        "labels": list(bundle.manifest.labels.names),
        "counts": {"records": joined.records, "duplicates": joined.duplicates, "clusters": joined.clusters},
        "bags": [{"name": name, "path": path} for name, path in bags],
    }
    write_info(request.out, joined.hash, model, settings, **more)


def _work(tasks: Sequence[HarvestTask], workers: Workers, failed: dict[Path, str]) -> None:
    left = [task for task in tasks if not task.file.is_file()]

    def done(task: HarvestTask, error: str | None) -> None:
        progress.update(1)
        if error is not None:
            failed[task.replayed.path] = error
        if len(failed) >= len(tasks) and all(one.replayed.path in failed for one in tasks):
            raise DataError("; ".join(failed.values()))

    with ProgressBar(total=len(tasks), initial=len(tasks) - len(left), unit="bag", desc="harvesting") as progress:
        if workers.executor == "local" and (workers.workers or 1) == 1:
            for task in left:
                try:
                    task.work(lambda _: None)
                except DataError as error:
                    done(task, str(error))
                else:
                    done(task, None)
        elif left:
            fleet.run([_absolute(task) for task in left], workers.executor, workers.workers, done)


def _absolute(task: HarvestTask) -> HarvestTask:
    """The same for workers, which have working directories of their own."""
    encoder = None if task.encoder is None else task.encoder.resolve()
    replayed = replace(task.replayed, results=task.replayed.results.resolve())
    return replace(task, out=task.out.resolve(), encoder=encoder, model=task.model.resolve(), replayed=replayed)


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Keep other processes off the folder; ends with the process, however that ends."""
    with (out / _LOCK).open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"--out {out}: another process harvests into it; wait for it, or give another --out"
            ) from error
        yield
