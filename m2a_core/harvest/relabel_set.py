"""Objects of new classes as a COCO data set to correct and complete, for CVAT, FiftyOne and pycocotools.

The layout is that of CVAT's "COCO 1.0": ``images/default/FILE`` and ``annotations/instances_default.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import write_json
from m2a_core.harvest.blur import blur
from m2a_core.harvest.cutout_folder import read_crop
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.gallery import picture, read_stored
from m2a_core.harvest.records import ObjectRecord, frame_classes
from m2a_core.image_header import read_header
from m2a_core.images import read_bytes, read_image
from m2a_core.interop.coco_json import image_record, object_annotation
from m2a_core.labels.coco_masks import segmentation_mask

IMAGES = "images/default"
ANNOTATIONS = "annotations/instances_default.json"


class RelabelSet:
    """Collects images with the objects in them; nothing is written before the first one."""

    def __init__(self, folder: Path, hidden: frozenset[int] = frozenset()) -> None:
        """Prepare.

        Args:
            folder: where to write.
            hidden: ids of the model's classes that are masked in the pictures; frames of which a harvest does not hold
                where these classes are become crops.
        """
        self.folder, self.hidden = folder, hidden
        self.crops = 0
        self._names: dict[str, int] = {}
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []

    @property
    def images(self) -> int:
        """Images so far; ``crops`` of them are crops."""
        return len(self._images)

    def add(self, harvest: Harvest, record: ObjectRecord, name: str) -> None:
        """Take one record: its whole frame with its mask, or its best crop, see ``hidden`` and ``ObjectRecord.frame``.

        Args:
            harvest: whose record it is.
            record: the record.
            name: of its class.

        Raises:
            DataError: a file is missing or malformed, or the mask does not fit.
            OSError: the image cannot be written.
        """
        if record.frame is None or (self.hidden and not harvest.path(frame_classes(record.frame)).is_file()):
            mask = read_crop(harvest, record, record.crop, record.mask)[1]
            image = picture(harvest, record, self.hidden)
            entry = self._image(f"{record.id}.png", cv2.imencode(".png", image[..., ::-1])[1].tobytes(), mask.shape)
            self.crops += 1
        else:
            path = harvest.path(record.frame)
            size = (record.image_height, record.image_width)
            data = read_bytes(path)
            header = read_header(data, str(path))
            if (header.height, header.width) != size:
                raise DataError(
                    f"{path}: is {header.width}x{header.height}, record {record.id} says {size[1]}x{size[0]}; "
                    "harvest again"
                )
            rle = {"size": list(size), "counts": record.full_mask}
            mask = segmentation_mask(rle, size, f"{harvest.objects}: full_mask of record {record.id}") > 0
            if self.hidden:
                classes = read_stored(harvest, frame_classes(record.frame), size)
                data = _jpeg(blur(read_image(path), classes, self.hidden))
            entry = self._image(record.frame.replace("/", "_"), data, size)
        if not mask.any():
            raise DataError(f"{harvest.objects}: the mask of record {record.id} is empty; harvest again")
        self._annotate(entry["id"], mask, name, record)

    def _image(self, file: str, data: bytes, size: tuple[int, ...]) -> dict[str, Any]:
        if file not in self._images:
            path = self.folder / IMAGES / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self._images[file] = image_record(len(self._images) + 1, file, (size[0], size[1]))
        return self._images[file]

    def _annotate(self, image_id: int, mask: np.ndarray, name: str, record: ObjectRecord) -> None:
        category = self._names.setdefault(name, len(self._names) + 1)
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                **object_annotation(mask, image_id, category),
                # CVAT and FiftyOne keep attributes: the person who corrects the mask sees where it is from.
                "attributes": {"record": record.id, "bag": record.bag, "score": round(record.score_mean, 4)},
            }
        )

    def finish(self) -> None:
        """Write the annotations, where there is an image.

        Raises:
            OSError: they cannot be written.
        """
        if not self._images:
            return
        content = {
            "info": {"description": "m2a harvest export: objects to become known classes"},
            "licenses": [],
            "images": list(self._images.values()),
            "categories": [{"id": i, "name": name, "supercategory": ""} for name, i in self._names.items()],
            "annotations": self._annotations,
        }
        write_json(self.folder / ANNOTATIONS, content)


def _jpeg(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
