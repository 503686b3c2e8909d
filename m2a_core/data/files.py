"""Reading score maps and ground truth, and pairing the files of two folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2a_core.data.nested import FolderFiles, folder_files
from m2a_core.errors import DataError
from m2a_core.files import read_array
from m2a_core.images import decode_stored, read_bytes
from m2a_core.labels.label_map import ANOMALY_VALUES, read_label_map
from m2a_core.labels.label_map import SUFFIXES as LABEL_SUFFIXES
from m2a_core.types import Output

SCORE_SUFFIXES = (".npz", ".npy", ".tif", ".tiff", ".png")
SCORE_KEY = "anomaly"

_NAME_ENDINGS = (
    "_labels_semantic",
    "_gtCoarse_labelTrainIds",
    "_gtCoarse_labelIds",
    "_gtFine_labelIds",
    "_gtFine_labelTrainIds",
    "_leftImg8bit",
    "_labels",
    "_label",
    "_mask",
    "_gt",
    "_anomaly",
    "_score",
)

_RESULT_ENDINGS = (*(f"_{output.value}" for output in Output), "_detections")
"""Of files that ``m2a predict`` writes beside NAME.npz, by ``--format``."""

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


def pair_folders(pred: Path, gt: Path, key: str | None = None) -> tuple[list[Pair], dict[str, str]]:
    """Pair the score maps of ``pred`` with the ground truth of ``gt`` by frame name.

    Of what ``m2a predict`` wrote in several formats, NAME.npz counts, else NAME_KEY.png.

    Args:
        pred: folder of score maps.
        gt: folder of ground truth.
        key: array of .npz files, and KEY above; None for ``SCORE_KEY``, and files without names inside count too.

    Returns:
        The pairs, and for every frame that lacks one side its name with what is missing.

    Raises:
        DataError: a folder does not exist or is empty, two files stand for one frame, no file can hold ``key``, or
            nothing pairs up.
    """
    wanted, key = key, SCORE_KEY if key is None else key
    scores = files_by_frame(pred, SCORE_SUFFIXES, "score maps", key)
    if wanted is not None:
        _require_key(pred, list(scores.values()), key)
    truths = files_by_frame(gt, LABEL_SUFFIXES, "ground-truth masks")
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
        score = read_array(path, key)
    else:
        score = decode_stored(read_bytes(path), str(path))
        if suffix == ".png" and score.dtype in (np.uint8, np.uint16):
            score = score.astype(np.float32) / np.float32(np.iinfo(score.dtype).max)
    if score.ndim > 2:
        score = score.squeeze()
    if score.ndim != 2 or score.dtype.kind not in "fiu" or score.dtype.itemsize > 8 or not score.size:
        raise DataError(f"{path}: expected one score map [H, W] of floats, got {score.dtype.name} {list(score.shape)}")
    return score if score.dtype.kind == "f" else score.astype(np.float64)


def read_truth(path: Path) -> np.ndarray:
    """Read a ground-truth mask: uint8 [H, W], 0 known, 1 anomaly, 255 void; errors as ``read_label_map``."""
    return read_label_map(path, ANOMALY_VALUES)


def _require_key(folder: Path, paths: Sequence[Path], key: str) -> None:
    if any(path.suffix.lower() == ".npz" or path.stem.endswith(f"_{key}") for path in paths):
        return
    drawn = [output.value for output in Output if any(path.stem.endswith(f"_{output.value}") for path in paths)]
    holds = f"; it holds {', '.join(drawn)}" if drawn else ""
    raise DataError(f"{folder}: no score map '{key}': no .npz files in it, and none whose name ends in _{key}{holds}")


def _without(stem: str, ending: str) -> str:
    return stem.removesuffix(ending) or stem


def _of_key(paths: Iterable[Path], key: str) -> list[Path]:
    paths, mine = list(paths), f"_{key}"
    packed = {path.stem for path in paths if path.suffix == ".npz"}
    drawn = {_without(path.stem, mine) for path in paths if path.stem.endswith(mine)}
    others = {stem + ending for stem in packed for ending in _RESULT_ENDINGS}
    others |= {stem + ending for stem in drawn for ending in _RESULT_ENDINGS if ending != mine}
    return [path for path in paths if path.stem not in others]


def files_by_frame(
    folder: Path,
    suffixes: tuple[str, ...],
    what: str,
    key: str = "",
    on_note: Callable[[str], object] = lambda note: None,
) -> dict[str, Path]:
    """List the files of a folder by the frame that each belongs to; where it has none, those of the folders below it.

    A frame of a folder below has the folder's name before its own: ``drive_0001``. Score maps lie in one folder.

    Args:
        folder: the folder.
        suffixes: endings that count, in any case.
        what: what they are, for messages.
        key: of score maps, which map; files of the same frame's other results are left out.
        on_note: told what a user must know of the folders below.

    Raises:
        DataError: there is no such folder or no such file, or two files stand for one frame.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {what} ({', '.join(suffixes)})")
    names = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    found: dict[str, list[Path]] = defaultdict(list)
    listed = FolderFiles(folder, tuple(_of_key(names, key)), "") if key else folder_files(folder, suffixes)
    if listed.note:
        on_note(listed.note)
    for path in listed.files:
        if path.suffix.lower() in suffixes and not path.stem.endswith(_PICTURE_ENDING):
            own = path.with_stem(_without(path.stem, f"_{key}")) if key else path
            found[listed.stem(own.with_stem(frame_name(own)))].append(path)
    if not found:
        others = sorted({path.suffix.lower() for path in names})
        lossy = "; JPEG changes label values: save masks as PNG" if {".jpg", ".jpeg"} & {*others} - {*suffixes} else ""
        holds = f"; it holds {', '.join(others[:4])} files" if others else ""
        raise DataError(f"{folder}: no {what} in it ({', '.join(suffixes)}){holds}{lossy}")
    for name, paths in found.items():
        if len(paths) > 1:
            raise DataError(
                f"{folder}: frame '{name}' has {len(paths)} files "
                f"({', '.join(str(p.relative_to(folder)) for p in paths)}); keep one"
            )
    return {name: paths[0] for name, paths in found.items()}
