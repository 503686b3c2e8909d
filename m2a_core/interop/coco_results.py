"""Results as COCO's files: panoptic JSON with its PNGs, and single objects with run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m2a_core.files import replaced, result_stem, write_json
from m2a_core.interop.coco_json import bounding_box, categories, category_id, image_record, object_annotation
from m2a_core.labels.label_set import LabelSet
from m2a_core.types import PANOPTIC_DIVISOR, PANOPTIC_VOID, OpenSetResult


class CocoResults:
    """Collects the results of images; the JSON files are written at the end.

    ``panoptic.json`` and ``panoptic/STEM.png`` are what ``panopticapi`` evaluates. ``instances.json`` is a data set of
    the things and the unknown objects, for labelling tools; ``instances_results.json`` the list that
    ``pycocotools.coco.COCO.loadRes`` takes.
    """

    def __init__(self, out: Path, labels: LabelSet) -> None:
        """Write into folder ``out``; ``labels`` are the known classes."""
        self.out, self.labels = out, labels
        self._images: list[dict[str, Any]] = []
        self._panoptic: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []

    def add(self, image_id: int, name: Path, result: OpenSetResult) -> None:
        """Take one image's result and write its PNG.

        Args:
            image_id: its id; see ``number_images``.
            name: the image's file, below the folder of all images.
            result: with ``panoptic``, ``anomaly`` and ``unknown_instances`` at the image's size.

        Raises:
            OSError: the PNG cannot be written.
        """
        panoptic = result.panoptic
        assert panoptic is not None, "every output is computed"
        png = self.out / "panoptic" / f"{result_stem(name)}.png"
        with replaced(png) as temporary:
            Image.fromarray(segment_colors(panoptic)).save(temporary)
        self._images.append(image_record(image_id, name.as_posix(), (panoptic.shape[0], panoptic.shape[1])))
        self._panoptic.append({"image_id": image_id, "file_name": png.name, "segments_info": segments_info(panoptic)})
        self._objects += object_results(result, self.labels, image_id)

    def finish(self) -> None:
        """Write the JSON files of all images so far.

        Raises:
            OSError: one cannot be written.
        """
        shared = {
            "info": {"description": "m2a predict"},
            "licenses": [],
            "images": self._images,
            "categories": categories(self.labels),
        }
        write_json(self.out / "panoptic.json", {**shared, "annotations": self._panoptic})
        numbered = [{"id": i, **item} for i, item in enumerate(self._objects, start=1)]
        write_json(self.out / "instances.json", {**shared, "annotations": numbered})
        write_json(self.out / "instances_results.json", self._objects)


def segment_colors(panoptic: np.ndarray) -> np.ndarray:
    """Segment ids as COCO's PNGs hold them, R + 256 G + 65536 B.

    Args:
        panoptic: int32 [H, W], class id * 256 + instance; 65535 void.

    Returns:
        uint8 [H, W, 3]: the id is one more than the panoptic value, since 0 is COCO's void.
    """
    ids = np.where(panoptic == PANOPTIC_VOID, 0, panoptic + 1)
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


def segments_info(panoptic: np.ndarray) -> list[dict[str, Any]]:
    """The segments of a panoptic map as COCO's ``segments_info``; argument as for ``segment_colors``."""
    found = []
    for value in np.unique(panoptic):
        if value == PANOPTIC_VOID:
            continue
        mask = panoptic == value
        found.append(
            {
                "id": int(value) + 1,
                "category_id": category_id(int(value) // PANOPTIC_DIVISOR),
                "area": int(mask.sum()),
                "bbox": bounding_box(mask),
                "iscrowd": 0,
            }
        )
    return found


def object_results(result: OpenSetResult, labels: LabelSet, image_id: int) -> list[dict[str, Any]]:
    """The known things and the unknown objects of an image as COCO's results.

    The score of a known thing is the mean of max S = 1 - f (Eq. 7) over its pixels, in [0, 1]; that of an unknown
    object is ``UnknownInstance.score``.

    Args:
        result: with ``panoptic``, ``anomaly`` and ``unknown_instances`` at the image's size.
        labels: the known classes.
        image_id: of the image.
    """
    panoptic, anomaly, unknown = result.panoptic, result.anomaly, result.unknown_instances
    assert panoptic is not None, "every output is computed"
    assert anomaly is not None, "every output is computed"
    assert unknown is not None, "every output is computed"
    found = []
    for value in np.unique(panoptic):
        if value // PANOPTIC_DIVISOR in labels.things:
            mask = panoptic == value
            score = float(np.clip(1 - anomaly[mask].mean(), 0, 1))
            found.append((mask, int(value) // PANOPTIC_DIVISOR, score))
    found += [(unknown == item.id, labels.unknown_id, item.score) for item in result.instances]
    return [
        {**object_annotation(mask, image_id, category_id(class_id)), "score": score}
        for mask, class_id, score in found
        if mask.any()
    ]
