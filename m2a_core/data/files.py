"""Reading score maps and ground truth, and pairing the files of two folders."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError

SCORE_SUFFIXES = (".npz", ".npy", ".tif", ".tiff", ".png")
TRUTH_SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff")
SCORE_KEY = "anomaly"

_NAME_ENDINGS = (
    "_labels_semantic", "_gtCoarse_labelTrainIds", "_gtCoarse_labelIds", "_gtFine_labelIds",
    "_gtFine_labelTrainIds", "_leftImg8bit", "_labels", "_label", "_mask", "_gt", "_anomaly", "_score",
)  # fmt: skip

_PICTURE_ENDING = "_labels_semantic_color"
"""Coloured pictures that SMIYC ships beside its masks."""


@dataclass(frozen=True)
class Pair:
    """A frame to score: its name, the score map and the ground truth.

    Attributes:
        name: of the frame.
        score: file of the score map.
        truth: file of the ground truth.
        key: which array of an .npz is the score map.
    """

    name: str
    score: Path
    truth: Path
    key: str = SCORE_KEY


def frame_name(path: Path) -> str:
    """The frame a file belongs to: its name without suffix and without a known ending such as ``_labels_semantic``."""
    stem = path.stem
    for ending in sorted(_NAME_ENDINGS, key=len, reverse=True):
        if stem.endswith(ending) and stem != ending:
            return stem[: -len(ending)]
    return stem


def pair_folders(pred: Path, gt: Path, key: str = SCORE_KEY) -> tuple[list[Pair], dict[str, str]]:
    """Pair the score maps of ``pred`` (array ``key`` of .npz files) with the ground truth of ``gt`` by frame name.

    Returns:
        The pairs, and for every frame that lacks one side its name with what is missing.

    Raises:
        DataError: a folder does not exist or is empty, two files stand for one frame, or nothing pairs up.
    """
    scores, truths = _by_frame(pred, SCORE_SUFFIXES, "score maps"), _by_frame(gt, TRUTH_SUFFIXES, "ground-truth masks")
    pairs = [Pair(name, scores[name], truths[name], key) for name in sorted(scores.keys() & truths.keys())]
    missing = {name: f"no score map for {truths[name]} in {pred}" for name in sorted(truths.keys() - scores.keys())}
    missing |= {name: f"no ground truth for {scores[name]} in {gt}" for name in sorted(scores.keys() - truths.keys())}
    if not pairs:
        raise DataError(
            f"no score map in {pred} has its ground truth in {gt}: names must match up to the suffix; "
            f"for example {next(iter(scores.values())).name} and {next(iter(truths.values())).name}"
        )
    return pairs, missing


def read_score(path: Path, key: str = SCORE_KEY) -> np.ndarray:
    """Read a score map.

    Args:
        path: .npz, .npy, 32-bit float TIFF, or PNG of 16 (or 8) bits, which stands for 0..1.
        key: which array of an .npz.

    Returns:
        float16, float32 or float64 [H, W]; axes of length 1 are dropped.

    Raises:
        DataError: the file cannot be read, or is not one map of real numbers.
    """
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        score = load_array(path, key)
    else:
        score = _load_image(path)
        if suffix == ".png" and score.dtype in (np.uint8, np.uint16):
            score = score.astype(np.float32) / np.float32(np.iinfo(score.dtype).max)
    if score.ndim > 2:
        score = score.squeeze()
    if score.ndim != 2 or score.dtype.kind not in "fiu" or score.dtype.itemsize > 8 or not score.size:
        raise DataError(f"{path}: expected one score map [H, W] of floats, got {score.dtype.name} {list(score.shape)}")
    return score if score.dtype.kind == "f" else score.astype(np.float64)


def read_truth(path: Path) -> np.ndarray:
    """Read a ground-truth mask.

    Args:
        path: 8-bit grey PNG or TIFF, .npy, or .npz with one array.

    Returns:
        uint8 [H, W], values as stored (0 known, 1 anomaly, 255 void are for the caller to check).

    Raises:
        DataError: the file cannot be read or is not one 8-bit mask.
    """
    truth = read_labels(path)
    if truth.max() > 255 or truth.min() < 0:
        raise DataError(f"{path}: ground truth holds {truth.min()}..{truth.max()}: expected 0, 1 and 255 only")
    return truth.astype(np.uint8)


def read_labels(path: Path) -> np.ndarray:
    """Read a mask of ids: integer [H, W] of 8 or 16 bits, or of the .npy file's type.

    Raises:
        DataError: the file cannot be read or is not one map of integers; a palette PNG (its values would be colours).
    """
    if path.suffix.lower() in (".npz", ".npy"):
        labels = load_array(path, key=None)
    else:
        if _is_palette_png(path):
            raise DataError(f"{path}: a palette PNG; save the ids as 8-bit grey")
        labels = _load_image(path)
        if labels.ndim == 3 and (labels[..., :1] == labels[..., :3]).all():
            labels = labels[..., 0]
    labels = labels.squeeze() if labels.ndim > 2 else labels
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or not labels.size:
        raise DataError(f"{path}: expected a mask [H, W] of integers, got {labels.dtype.name} {list(labels.shape)}")
    return labels


def _by_frame(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {what} ({', '.join(suffixes)})")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if (
            path.suffix.lower() in suffixes
            and not path.name.startswith(".")
            and not path.stem.endswith(_PICTURE_ENDING)
        ):
            found[frame_name(path)].append(path)
    if not found:
        raise DataError(f"{folder}: no {what} in it ({', '.join(suffixes)})")
    for name, paths in found.items():
        if len(paths) > 1:
            raise DataError(
                f"{folder}: frame '{name}' has {len(paths)} files ({', '.join(p.name for p in paths)}); keep one"
            )
    return {name: paths[0] for name, paths in found.items()}


def load_array(path: Path, key: str | None) -> np.ndarray:
    """Read a NumPy file.

    Args:
        path: .npy or .npz.
        key: which array of an .npz; None for the only one.

    Raises:
        DataError: the file cannot be read or has no such array.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded.files)
            wanted = names[0] if key is None and len(names) == 1 else key
            if wanted not in names:
                asked = "exactly one array" if key is None else f"key '{key}'"
                raise DataError(f"{path}: expected {asked}, the file holds {names}")
            array: np.ndarray = loaded[wanted]
            return array
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy file ({error})") from error


def _load_image(path: Path) -> np.ndarray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if image is None:
        raise DataError(f"{path}: not an image, or cut short")
    return image


def _is_palette_png(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 26 and struct.unpack(">B", head[25:26])[0] == 3
