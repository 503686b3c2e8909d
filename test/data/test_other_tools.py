"""What other tools read of our exports, and what we read of theirs: Datumaro, on which CVAT builds, and FiftyOne.

Neither is a dependency: they bring an OpenCV and a database of their own. ``pip install datumaro fiftyone`` into an
environment of its own runs these tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from m2a_core.data.own.opening import open_own
from m2a_core.harvest.choices import read_choices
from m2a_core.harvest.export import export_harvest
from test.harvest.sightings import SIZE, make_harvest, sighting

NAMES = {"0": "scooter", "1": "pallet truck"}


@pytest.fixture
def exported(tmp_path) -> Path:
    """A COCO folder of two new classes."""
    records = [sighting(n, cluster=n % 2, frame=f"frames/{n}.jpg") for n in range(3)]
    harvest = make_harvest(tmp_path / "harvest", records)
    clusters = {number: {"name": name, "kind": "class"} for number, name in NAMES.items()}
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"format": 1, "harvest": harvest.hash, "clusters": clusters, "objects": {}}))
    export_harvest(harvest, read_choices(path, harvest), tmp_path / "out", progress=False)
    return tmp_path / "out" / "classes"


def annotated(root: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Stem of a picture -> name and mask of its one object, as pycocotools reads them."""
    coco = COCO(str(root / "annotations" / "instances_default.json"))
    return {
        Path(coco.imgs[a["image_id"]]["file_name"]).stem: (coco.cats[a["category_id"]]["name"], coco.annToMask(a) > 0)
        for a in coco.anns.values()
    }


@pytest.mark.parametrize("kind", ["coco", "coco_instances"])
def test_datumaro_reads_new_classes_pixel_by_pixel(exported, kind):
    dm = pytest.importorskip("datumaro")
    dataset = dm.Dataset.import_from(str(exported), kind)
    labels = dataset.categories()[dm.AnnotationType.label]
    expected = annotated(exported)
    assert len(dataset) == len(expected) == 3
    for item in dataset:
        (mask,) = (annotation for annotation in item.annotations if isinstance(annotation, dm.Mask))
        name, pixels = expected[item.id]
        assert labels[mask.label].name == name
        np.testing.assert_array_equal(np.asarray(mask.image) > 0, pixels)


def test_fiftyone_reads_new_classes_pixel_by_pixel(exported):
    reader = pytest.importorskip("fiftyone.utils.coco")
    images, labels = exported / "images" / "default", exported / "annotations" / "instances_default.json"
    expected = annotated(exported)
    with reader.COCODetectionDatasetImporter(
        data_path=str(images), labels_path=str(labels), label_types="segmentations"
    ) as samples:
        seen = list(samples)
    assert len(seen) == len(expected) == 3
    for path, _, found in seen:
        (detection,) = found.detections
        name, pixels = expected[Path(path).stem]
        assert detection.label == name
        top, left = round(detection.bounding_box[1] * SIZE[0]), round(detection.bounding_box[0] * SIZE[1])
        whole = np.zeros(SIZE, bool)
        height, width = detection.mask.shape
        whole[top : top + height, left : left + width] = detection.mask
        np.testing.assert_array_equal(whole, pixels)


def test_what_datumaro_writes_for_cvat_is_read_as_drawn(tmp_path):
    dm = pytest.importorskip("datumaro")
    image = np.full((48, 64, 3), 90, np.uint8)
    drawn = np.full((48, 64), 255, np.uint8)
    drawn[30:, :], drawn[10:20, 5:25] = 0, 1
    car = np.zeros((48, 64), np.uint8)
    car[35:45, 40:60] = 1
    drawn[car > 0] = 2
    shapes = [
        dm.Polygon([0, 30, 64, 30, 64, 48, 0, 48], label=0, z_order=0),
        dm.Bbox(5, 10, 20, 10, label=1, z_order=1),
        dm.Mask(car, label=2, z_order=2),
    ]
    item = dm.DatasetItem("a_001", subset="train", media=dm.Image.from_numpy(data=image), annotations=shapes)
    dataset = dm.Dataset.from_iterable([item], categories=["road", "sign", "car"], media_type=dm.Image)
    dataset.export(str(tmp_path / "cvat"), "cvat", save_media=True)
    (xml,) = (tmp_path / "cvat").glob("*.xml")
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / "annotations.xml").write_bytes(xml.read_bytes())
    for picture in (tmp_path / "cvat").rglob("a_001.*"):
        cv2.imwrite(str(root / "images" / picture.name), cv2.imread(str(picture)))
    classes = [{"name": name, "id": n, "color": [n, n, n]} for n, name in enumerate(("road", "sign", "car"))]
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": classes}))
    dataset = open_own(root, "cvat")
    assert dataset.listing.problems == []
    (frame,) = dataset.listing.frames
    np.testing.assert_array_equal(frame.read()[1].label, drawn)
