"""Benchmarks of anomalies and obstacles. Layouts and label values: ``docs/datasets.md``."""

from __future__ import annotations

from pathlib import Path

from m2a_core.data.base import Dataset, Sample, paired, pictures, require, shown_files
from m2a_core.data.files import files_by_frame, frame_name
from m2a_core.errors import DataError
from m2a_core.labels.label_map import SUFFIXES as LABEL_SUFFIXES

ROAD_ANOMALY = """\
ROOT/frames/NAME.jpg
ROOT/frames/NAME.labels/labels_semantic.png     (0 and 1 known, 2 anomaly)"""

LOST_AND_FOUND = """\
ROOT/leftImg8bit/{train,test}/SCENE/NAME_leftImg8bit.png
ROOT/gtCoarse/{train,test}/SCENE/NAME_gtCoarse_labelIds.png     (0 void, 1 road, 2..200 obstacles)"""

FISHYSCAPES_LAF = """\
ROOT/fishyscapes_lostandfound/NNNN_NAME_labels.png     (0 known, 1 anomaly, 255 void)
ROOT/leftImg8bit/{train,test}/SCENE/NAME_leftImg8bit.png     (of Lost and Found)
or, as repacked by others,
ROOT/original/NAME.png and ROOT/labels/NAME.png"""

FISHYSCAPES_STATIC = """\
ROOT/fs_val_v3/NNNN_NAME_labels.png     (0 known, 1 anomaly, 255 void)
ROOT/fs_val_v3/NNNN_*rgb.npz     (what is added to the image)
ROOT/leftImg8bit/val/CITY/NAME_leftImg8bit.png     (of Cityscapes)
or, as repacked by others,
ROOT/original/NAME.png and ROOT/labels/NAME.png"""

SMIYC = """\
ROOT/images/NAME.{jpg,webp}
ROOT/labels_masks/NAME_labels_semantic.png     (0 known, 1 anomaly, 255 void; only of validation* frames)"""

FOLDER = """\
ROOT/images/NAME.{jpg,png,webp}
ROOT/masks/NAME.png     (0 known, 1 anomaly, 255 void)"""

_PLAIN = {0: 0, 1: 1}

# Test frames whose labels are empty, and scenes with known objects only, as the SMIYC code leaves them out
# (split "LostAndFound-testNoKnown", 1043 frames).
_LAF_INVALID = (17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793)
_LAF_KNOWN = (
    "15_Rechbergstr_Deckenpfronn",
    "01_Hanns_Klemm_Str_45_000006",
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)
_LAF_TEST_FRAMES = 1203


def road_anomaly(root: Path) -> Dataset:
    """Road Anomaly (Lis et al., ICCV 2019): 60 web images; https://www.epfl.ch/labs/cvlab/data/road-anomaly/."""
    frames = require(root / "frames", ROAD_ANOMALY, "Road Anomaly")
    images = pictures(frames)
    samples = paired(
        "Road Anomaly",
        ROAD_ANOMALY,
        images,
        lambda p: p.with_suffix(".labels") / "labels_semantic.png",
        lambda p: p.stem,
    )
    return Dataset("road_anomaly", samples, anomaly={0: 0, 1: 0, 2: 1})


def lost_and_found(root: Path, split: str = "test") -> Dataset:
    """Lost and Found (Pinggera et al., IROS 2016), scored on the road as SMIYC does (its split "testNoKnown").

    From a complete test split (1203 images) the frames that the SMIYC code leaves out are left out; smaller copies are
    taken whole.
    """
    folder = require(root / "leftImg8bit" / split, LOST_AND_FOUND, "Lost and Found")
    suffix = "_leftImg8bit"
    images = pictures(folder, f"*/*{suffix}.*")
    if split == "test" and len(images) == _LAF_TEST_FRAMES:
        images = [path for i, path in enumerate(sorted(images, key=lambda p: p.stem)) if i not in _LAF_INVALID]
        images = [path for path in images if not path.name.startswith(_LAF_KNOWN)]
    samples = paired(
        "Lost and Found",
        LOST_AND_FOUND,
        images,
        lambda p: root / "gtCoarse" / split / p.parent.name / f"{p.stem.removesuffix(suffix)}_gtCoarse_labelIds.png",
        lambda p: p.stem.removesuffix(suffix),
    )
    values = {1: 0, **dict.fromkeys(range(2, 201), 1)}
    return Dataset("lost_and_found", samples, "obstacle", values, void=frozenset({0, 255}), by_benchmark=True)


def fishyscapes_laf(root: Path) -> Dataset:
    """Fishyscapes Lost and Found validation (Blum et al., IJCV 2021): 100 frames; https://fishyscapes.com."""
    labels = root / "fishyscapes_lostandfound"
    if labels.is_dir():
        samples = _fishyscapes(root, labels, FISHYSCAPES_LAF, "Fishyscapes L&F", overlays=False)
    else:
        samples = _original_labels(root, FISHYSCAPES_LAF, "Fishyscapes L&F")
    return Dataset("fishyscapes_laf", samples, anomaly=_PLAIN)


def fishyscapes_static(root: Path) -> Dataset:
    """Fishyscapes Static validation (Blum et al., IJCV 2021): 30 frames; https://fishyscapes.com.

    As distributed it is what to add to Cityscapes images; the latest of the versions that are there is taken.
    """
    versions = sorted(path for path in root.glob("fs_val_v*") if path.is_dir())
    if versions:
        samples = _fishyscapes(root, versions[-1], FISHYSCAPES_STATIC, "Fishyscapes Static", overlays=True)
    else:
        samples = _original_labels(root, FISHYSCAPES_STATIC, "Fishyscapes Static")
    return Dataset("fishyscapes_static", samples, anomaly=_PLAIN)


def smiyc(root: Path, track: str, split: str = "validation") -> Dataset:
    """SegmentMeIfYouCan RoadAnomaly21 or RoadObstacle21 (Chan et al., 2021); https://segmentmeifyoucan.com.

    Args:
        root: ``dataset_AnomalyTrack`` or ``dataset_ObstacleTrack``.
        track: ``anomaly`` or ``obstacle``.
        split: ``validation`` (public labels; without the obstacle track's extra sequences, as the benchmark's code) or
            ``all`` (for a submission; labels where they are public).
    """
    what = f"SMIYC {track} track"
    images = pictures(require(root / "images", SMIYC, what))

    def labels_of(path: Path) -> Path:
        return root / "labels_masks" / f"{path.stem}_labels_semantic.png"

    if split == "all":
        found = tuple(Sample(p.stem, p, labels_of(p) if labels_of(p).is_file() else None) for p in images)
        if not found:
            raise DataError(f"{what}: no images found; expected layout:\n{SMIYC}")
        return Dataset(f"smiyc_{track}", found, track, _PLAIN, by_benchmark=True)
    left_out = tuple(f"validation_{n}" for n in (19, *range(21, 30))) if track == "obstacle" else ()
    images = [path for path in images if path.stem.startswith("validation") and not path.stem.startswith(left_out)]
    samples = paired(what, SMIYC, images, labels_of, lambda p: p.stem)
    return Dataset(f"smiyc_{track}", samples, track, _PLAIN, by_benchmark=True)


def folder(root: Path) -> Dataset:
    """Any images with masks."""
    images = pictures(require(root / "images", FOLDER, "folder of images and masks"))
    masks_folder = require(root / "masks", FOLDER, "folder of images and masks")
    masks = files_by_frame(masks_folder, LABEL_SUFFIXES, "masks") if any(masks_folder.iterdir()) else {}
    samples = paired(
        "folder of images and masks",
        FOLDER,
        images,
        lambda p: masks.get(frame_name(p), masks_folder / f"{p.stem}.png"),
        frame_name,
    )
    return Dataset("folder", samples, anomaly=_PLAIN)


def _fishyscapes(root: Path, labels: Path, layout: str, what: str, overlays: bool) -> tuple[Sample, ...]:
    """Frames of the distributed form: label files name the images of another data set."""
    suffix = "_leftImg8bit"
    pool = {path.stem.removesuffix(suffix): path for path in pictures(root / "leftImg8bit", f"*/*/*{suffix}.*")}
    samples = []
    for path in (p for p in shown_files(labels, "*") if p.name.lower().endswith("_labels.png")):
        number, _, name = path.stem.removesuffix("_labels").partition("_")
        if name not in pool:
            raise DataError(f"{what}: {path.name} has no image {name}{suffix}.png; expected layout:\n{layout}")
        overlay = next(iter(sorted(labels.glob(f"{number}_*rgb.npz"))), None) if overlays else None
        if overlays and overlay is None:
            raise DataError(f"{what}: {path.name} has no {number}_*rgb.npz beside it; expected layout:\n{layout}")
        samples.append(Sample(name, pool[name], path, overlay=overlay))
    if not samples:
        raise DataError(f"{what}: no *_labels.png in {labels}; expected layout:\n{layout}")
    return tuple(samples)


def _original_labels(root: Path, layout: str, what: str) -> tuple[Sample, ...]:
    images = pictures(require(root / "original", layout, what))
    return paired(what, layout, images, lambda p: root / "labels" / f"{p.stem}.png", lambda p: p.stem)
