"""Cityscapes, StreetHazards and COCO as distributed: what training sees of them, and broken files by name."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CITYSCAPES19, STREETHAZARDS12
from m2a_core.labels.coco import COCO_PANOPTIC133, coco_known
from m2a_core.training.coco_sets import coco_panoptic_sources, load_coco_cutouts
from m2a_core.training.datasets import FramesOnDisk
from m2a_core.training.road_sets import cityscapes_sources, streethazards_sources
from m2a_core.training.targets import IGNORE, make_target
from test.training.dataset_trees import write_cityscapes, write_coco_instances, write_coco_panoptic, write_streethazards


def test_cityscapes_ids_become_the_19_classes_and_the_rest_void(tmp_path):
    write_cityscapes(tmp_path, {"train": 2, "val": 1})
    sources = cityscapes_sources(tmp_path, "train")
    assert [s.name for s in sources] == ["aachen_000000_000019", "aachen_000001_000019"]
    label = sources[0].read().label
    names = CITYSCAPES19.names
    assert names[label[10, 10]] == "sky"
    assert names[label[70, 10]] == "road"
    assert names[label[50, 30]] == "car"
    assert label[95, 10] == IGNORE
    assert len(cityscapes_sources(tmp_path, "val")) == 1


def test_streethazards_unlabelled_is_background_and_other_is_void(tmp_path):
    write_streethazards(tmp_path, {"training": 2, "validation": 1})
    (first, _), (held,) = (streethazards_sources(tmp_path, s) for s in ("training", "validation"))
    assert (first.name, held.name) == ("t1-3_0", "t4_0")
    label = first.read().label
    names = STREETHAZARDS12.names
    assert names[label[10, 10]] == "background"
    assert names[label[75, 10]] == "road"
    assert names[label[55, 40]] == "car"
    assert label[95, 10] == IGNORE


def test_frames_on_disk_are_read_when_asked_for_and_slices_read_nothing(tmp_path):
    write_cityscapes(tmp_path, {"train": 3})
    frames = FramesOnDisk(cityscapes_sources(tmp_path, "train"))
    (tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000001_000019_leftImg8bit.png").write_bytes(b"broken")
    some = frames[::2]
    assert [f.name for f in some] == ["aachen_000000_000019", "aachen_000002_000019"]
    with pytest.raises(DataError, match="aachen_000001"):
        frames[1]


def label_path(root):
    return root / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.full((96, 192), 40, np.uint8), r"label values outside the map: 40 \(18432 pixels\)"),
        (np.full((95, 192), 7, np.uint8), r"label is \[95, 192\], its image \[96, 192\]"),
    ],
)
def test_a_broken_label_is_named(tmp_path, label, message):
    write_cityscapes(tmp_path, {"train": 1})
    cv2.imwrite(str(label_path(tmp_path)), label)
    with pytest.raises(DataError, match=rf"gtFine_labelIds\.png: {message}"):
        cityscapes_sources(tmp_path, "train")[0].read()


def test_a_wrong_folder_shows_the_layout(tmp_path):
    for sources in (
        lambda: cityscapes_sources(tmp_path, "train"),
        lambda: streethazards_sources(tmp_path, "training"),
        lambda: coco_panoptic_sources(tmp_path, "train2017", COCO_PANOPTIC133),
    ):
        with pytest.raises(DataError, match="ROOT/"):
            sources()


def test_a_half_finished_download_is_named(tmp_path):
    write_cityscapes(tmp_path, {"train": 2})
    label_path(tmp_path).unlink()
    with pytest.raises(DataError, match="1 of 2 images have no labels"):
        cityscapes_sources(tmp_path, "train")


def test_panoptic_targets_have_one_mask_per_instance_and_removed_classes_are_background(tmp_path):
    write_coco_panoptic(tmp_path, {"train2017": 1})
    nothing = np.zeros((80, 100), bool)

    def target(labels):
        frame = coco_panoptic_sources(tmp_path, "train2017", labels)[0].read()
        target = make_target(
            frame.label, nothing, labels, 1, 100, segments="instance", void="background", instances=frame.instances
        )
        return [labels.names[c] for c in target.classes.tolist()], target

    everything, whole = target(COCO_PANOPTIC133)
    # The crowd is no instance of a person.
    assert sorted(everything) == ["car", "car", "person", "road", "sky-other-merged"]
    masks = [whole.segments == i for i in range(len(everything))]
    assert sorted(int(m.sum()) for m, n in zip(masks, everything, strict=True) if n == "car") == [400, 400]
    assert int(whole.segments[35, 85]) == -1
    assert whole.void_is_background

    known, fewer = target(coco_known(5))
    assert sorted(known) == ["person", "road", "sky-other-merged"]
    assert (fewer.segments[45:55, 12:48] == -1).all()
    assert (fewer.label[45:55, 12:48] == IGNORE).all()


def test_a_panoptic_mask_with_unannotated_segments_is_named(tmp_path):
    write_coco_panoptic(tmp_path, {"train2017": 1})
    path = tmp_path / "annotations" / "panoptic_train2017" / "000000000000.png"
    cv2.imwrite(str(path), np.full((80, 100, 3), (9, 0, 0), np.uint8)[..., ::-1])
    with pytest.raises(DataError, match=r"000000000000\.png: segment ids 9 \(8000 pixels\) are not among the 6"):
        coco_panoptic_sources(tmp_path, "train2017", COCO_PANOPTIC133)[0].read()


def test_category_names_that_nothing_knows_are_named(tmp_path):
    write_coco_panoptic(tmp_path, {"train2017": 1})
    path = tmp_path / "annotations" / "panoptic_train2017.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"person"', '"Person"'), encoding="utf-8")
    with pytest.raises(DataError, match="categories Person are none of COCO's 133 panoptic ones"):
        coco_panoptic_sources(tmp_path, "train2017", COCO_PANOPTIC133)


def cutouts(root, **changes):
    arguments = {"count": 10, "exclude": ["person", "car"], "seed": 0} | changes
    return load_coco_cutouts(root / "train2017", root / "annotations" / "instances_train2017.json", **arguments)


def test_objects_are_cut_out_of_coco_by_polygon_and_by_run_lengths_but_never_known_ones_or_crowds(tmp_path):
    write_coco_instances(tmp_path, 16)
    train, held = cutouts(tmp_path)
    assert (len(train), len(held)) == (10, 1)
    assert not {c.name for c in train} & {c.name for c in held}
    assert {c.kind for c in train} == {"bottle", "cat"}
    for cutout in train:
        if cutout.kind == "bottle":
            assert cutout.rgba.shape[:2] == pytest.approx((50, 40), abs=1)
            assert (cutout.rgba[5:-5, 5:-5, 3] == 255).all()
            # The blue square of the file, in RGB here red.
            assert cutout.rgba[25, 20, 0] > 230
        else:
            assert cutout.rgba.shape == (80, 40, 4)


def test_the_seed_chooses_the_images(tmp_path):
    write_coco_instances(tmp_path, 16)
    one, same, other = ([c.name for c in cutouts(tmp_path, count=6, seed=seed)[0]] for seed in (0, 0, 1))
    assert one == same
    assert set(one) != set(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 99}, "16 images hold an object of at least 1024 pixels outside the known classes, 108 are needed"),
        ({"exclude": ["unicorn"]}, "no category 'unicorn' to exclude"),
    ],
)
def test_too_few_objects_and_wrong_names_are_refused(tmp_path, changes, message):
    write_coco_instances(tmp_path, 16)
    with pytest.raises(DataError, match=message):
        cutouts(tmp_path, **changes)


def test_malformed_annotations_are_named(tmp_path):
    write_coco_instances(tmp_path, 16)
    path = tmp_path / "annotations" / "instances_train2017.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-40], encoding="utf-8")
    with pytest.raises(DataError, match=r"instances_train2017\.json: not JSON"):
        cutouts(tmp_path)
    content = json.loads(whole)
    for entry in content["annotations"]:
        entry["segmentation"] = {"size": [80, 100], "counts": "compressed"}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="expected compressed run lengths of an image"):
        cutouts(tmp_path)


def test_cut_outs_do_not_depend_on_how_ids_and_run_lengths_are_written(tmp_path):
    write_coco_instances(tmp_path, 16)
    expected = cutouts(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for entry in content["annotations"]:
        if entry["iscrowd"] == 0:
            del entry["iscrowd"]
        entry["image_id"], entry["category_id"] = str(entry["image_id"]), str(entry["category_id"])
        if isinstance(entry["segmentation"], dict):
            packed = mask.frPyObjects(entry["segmentation"], 80, 100)
            entry["segmentation"] = {"size": packed["size"], "counts": packed["counts"].decode()}
    path.write_text(json.dumps(content), encoding="utf-8")
    for one, other in zip(itertools.chain(*expected), itertools.chain(*cutouts(tmp_path)), strict=True):
        assert (one.name, one.kind) == (other.name, other.kind)
        np.testing.assert_array_equal(one.rgba, other.rgba)
