"""Benchmarks of anomalies and obstacles. Layouts and label values: ``docs/datasets.md``."""

from __future__ import annotations

from pathlib import Path

from m2a_core.data.base import Dataset, Sample, paired, pictures, require
from m2a_core.errors import DataError
from m2a_core.evaluation.files import TRUTH_SUFFIXES, frame_name

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
ROOT/original/NAME.png
ROOT/labels/NAME.png     (0 known, 1 anomaly, 255 void)"""

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
    "15_Rechbergstr_Deckenpfronn", "01_Hanns_Klemm_Str_45_000006", "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)  # fmt: skip
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
    return Dataset("lost_and_found", samples, "obstacle", {1: 0, **dict.fromkeys(range(2, 201), 1)})


def fishyscapes_laf(root: Path) -> Dataset:
    """Fishyscapes Lost and Found validation (Blum et al., IJCV 2021): 100 frames; https://fishyscapes.com."""
    labels = root / "fishyscapes_lostandfound"
    if not labels.is_dir():
        return Dataset("fishyscapes_laf", _original_labels(root, FISHYSCAPES_LAF, "Fishyscapes L&F"), anomaly=_PLAIN)
    pool = {
        path.stem.removesuffix("_leftImg8bit"): path for path in pictures(root / "leftImg8bit", "*/*/*_leftImg8bit.*")
    }
    samples = []
    for path in sorted(labels.glob("*_labels.png")):
        name = path.stem.removesuffix("_labels").partition("_")[2]
        if name not in pool:
            raise DataError(
                f"Fishyscapes L&F: {path.name} has no image {name}_leftImg8bit.png; expected layout:\n{FISHYSCAPES_LAF}"
            )
        samples.append(Sample(name, pool[name], path))
    if not samples:
        raise DataError(f"Fishyscapes L&F: no *_labels.png in {labels}; expected layout:\n{FISHYSCAPES_LAF}")
    return Dataset("fishyscapes_laf", tuple(samples), anomaly=_PLAIN)


def fishyscapes_static(root: Path) -> Dataset:
    """Fishyscapes Static validation (Blum et al., IJCV 2021): 30 frames; https://fishyscapes.com."""
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
        return Dataset(f"smiyc_{track}", found, track, _PLAIN)
    left_out = tuple(f"validation_{n}" for n in (19, *range(21, 30))) if track == "obstacle" else ()
    images = [path for path in images if path.stem.startswith("validation") and not path.stem.startswith(left_out)]
    return Dataset(f"smiyc_{track}", paired(what, SMIYC, images, labels_of, lambda p: p.stem), track, _PLAIN)


def folder(root: Path) -> Dataset:
    """Any images with masks."""
    images = pictures(require(root / "images", FOLDER, "folder of images and masks"))
    masks_folder = require(root / "masks", FOLDER, "folder of images and masks")
    masks = {frame_name(path): path for path in sorted(masks_folder.iterdir()) if path.suffix in TRUTH_SUFFIXES}
    samples = paired(
        "folder of images and masks",
        FOLDER,
        images,
        lambda p: masks.get(frame_name(p), masks_folder / f"{p.stem}.png"),
        lambda p: p.stem,
    )
    return Dataset("folder", samples, anomaly=_PLAIN)


def _original_labels(root: Path, layout: str, what: str) -> tuple[Sample, ...]:
    images = pictures(require(root / "original", layout, what))
    return paired(what, layout, images, lambda p: root / "labels" / f"{p.stem}.png", lambda p: p.stem)
