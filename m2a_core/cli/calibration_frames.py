"""The frames that ``m2a calibrate`` is given: which are labelled, which are normal, and whether all can be read."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from m2a_core.errors import ConfigError, DataError

_Reader = Callable[[], np.ndarray]

CalibrationFrame = tuple[Path, _Reader, _Reader | None]
"""Path, what reads the image, and what reads its truth; None for a frame that is all normal."""

_NAMED = 5


def sources(args: argparse.Namespace) -> tuple[list[CalibrationFrame], list[CalibrationFrame]]:
    """The labelled and the normal frames.

    Raises:
        ConfigError: the options do not say what to do with which frames.
        DataError: a folder has no images, or an image no truth.
    """
    rules = (args.frame_fpr, args.alarms_per_minute, args.like)
    by_rate = args.drift or any(rule is not None for rule in rules)
    if (args.alarms_per_minute is None) != (args.fps is None):
        raise ConfigError("--alarms-per-minute and --fps belong together: give both or neither")
    if args.drift and (args.gt or args.dataset or args.normal):
        raise ConfigError("--drift: give normal frames by --images alone")
    frames = list(_frames(args, by_rate))
    if args.normal is None:
        return ([], frames) if by_rate else (frames, [])
    if not by_rate:
        raise ConfigError(
            "--normal: also give --frame-fpr RATE, --like MODEL, or --alarms-per-minute RATE and --fps HZ"
        )
    if frames and frames[0][2] is None:
        raise ConfigError("--normal is for normal images beside labelled ones: give --gt too, or --images alone")
    return frames, list(_normal(args.normal))


def check_readable(frames: Sequence[CalibrationFrame], anomalies: bool) -> None:
    """Read every frame before the network runs: a bad one found at the end would cost all the work before it.

    Args:
        frames: paths and readers.
        anomalies: some pixel must be anomalous.

    Raises:
        DataError: naming the first few that cannot be read or do not fit their truth.
    """
    from m2a_core.evaluation.calibration import require_anomalies
    from m2a_core.metrics.pixel import ANOMALY, VOID, split_scores

    bad, pixels = [], np.zeros(256, np.int64)
    for path, read, truth in frames:
        try:
            size = read().shape[:2]
            if truth is not None:
                mask = truth()
                split_scores(np.zeros(size, np.float32), mask)
                pixels += np.bincount(mask.ravel(), minlength=256)
        except DataError as error:
            bad.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    if bad:
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DataError(
            f"{len(bad)} of {len(frames)} frames cannot be used; fix or remove them: {'; '.join(bad[:_NAMED])}{more}"
        )
    if anomalies:
        require_anomalies(int(pixels[ANOMALY]), int(pixels[VOID]))


def _frames(args: argparse.Namespace, by_rate: bool) -> Iterator[CalibrationFrame]:
    """The frames of --images or --dataset."""
    from m2a_core.data.catalog import open_dataset
    from m2a_core.data.files import files_by_frame, read_truth
    from m2a_core.images import read_image
    from m2a_core.labels.label_map import SUFFIXES as LABEL_SUFFIXES

    if args.dataset and args.root and not args.images:
        if args.gt is not None:
            raise ConfigError("--gt: only with --images DIR; a data set has its own ground truth")
        dataset = open_dataset(args.dataset, args.root)
        if dataset.anomaly is None:
            raise ConfigError(
                f"--dataset {args.dataset}: has classes only, no ground truth of anomalies; frames without unknown "
                "objects are given by --images DIR and --frame-fpr RATE, or another of the rules for normal frames"
            )
        for sample in dataset.samples:
            yield sample.image, sample.picture, partial(dataset.anomaly_truth, sample)
        return
    if not args.images or args.dataset or args.root:
        raise ConfigError("give --images DIR [--gt DIR], or --dataset NAME --root DIR")
    if args.gt is None:
        if not by_rate:
            raise ConfigError(
                "--images without --gt are taken for normal frames: give --frame-fpr RATE, --like MODEL, "
                "--alarms-per-minute RATE and --fps HZ, or --drift too"
            )
        yield from _normal(args.images)
        return
    images = _images(args.images)
    truths = files_by_frame(args.gt, LABEL_SUFFIXES, "ground-truth masks")
    for name, path in images.items():
        if name not in truths:
            raise DataError(f"{path}: no ground truth of that name in {args.gt}")
        yield path, partial(read_image, path), partial(read_truth, truths[name])


def _normal(folder: Path) -> Iterator[CalibrationFrame]:
    from m2a_core.images import read_image

    yield from ((path, partial(read_image, path), None) for path in _images(folder).values())


def _images(folder: Path) -> dict[str, Path]:
    from m2a_core.data.files import files_by_frame
    from m2a_core.images import SUFFIXES

    found = files_by_frame(
        folder, SUFFIXES, "images", on_note=lambda note: print(f"m2a: note: {note}", file=sys.stderr)
    )
    return dict(sorted(found.items(), key=lambda item: _in_time(item[0])))


def _in_time(name: str) -> list[tuple[str, int]]:
    """Orders names by the numbers in them, frame_2 before frame_10: alarms of a drive are counted frame by frame."""
    parts = re.split(r"(\d+)", name)
    return [(text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "0"], strict=True)]
