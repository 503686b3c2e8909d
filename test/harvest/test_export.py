"""`m2a harvest export`: what is named becomes cut-outs, a COCO data set and a card that training and tools read."""

from __future__ import annotations

import contextlib
import io
import json

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from m2a_core.errors import ConfigError, DataError
from m2a_core.harvest.choices import Choice, Choices
from m2a_core.harvest.export import described, export_harvest
from m2a_core.harvest.folder import Harvest
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.data_config import HardNegativeConfig
from m2a_core.training.datasets import load_cutouts, read_cutouts
from m2a_core.training.false_alarms import open_hard_negatives
from m2a_ros.main import main
from test.harvest.harvests import record
from test.harvest.sightings import SIZE, make_harvest, sighting

PALLET, PAINT, SCOOTER = Choice("pallet", "outlier"), Choice("road paint", "false_alarm"), Choice("scooter", "class")


def know(harvest: Harvest) -> Harvest:
    """The same harvest of a model that knows CamVid's classes."""
    path = harvest.folder / "harvest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": list(CAMVID11.names)}))
    return Harvest.open(harvest.folder)


@pytest.fixture
def harvest(tmp_path) -> Harvest:
    frame = "frames/drive_0_3.jpg"
    return know(
        make_harvest(
            tmp_path / "harvest",
            [
                sighting(0, cluster=0),
                sighting(1, cluster=0, bag="drive_1"),
                sighting(2, cluster=1),
                sighting(3, cluster=2, frame=frame),
                sighting(4, cluster=2, frame=frame),
                sighting(5, cluster=2),
                sighting(6, cluster=0, duplicate_of=record(0).id),
                sighting(7),
            ],
        )
    )


NAMED = Choices({0: PALLET, 1: PAINT, 2: SCOOTER}, {})


def test_outliers_are_what_training_pastes(harvest, tmp_path):
    named = export_harvest(harvest, NAMED, tmp_path / "out", progress=False)
    cutouts = read_cutouts(tmp_path / "out" / "outliers")
    assert [c.kind for c in cutouts] == ["pallet"] * 4
    for cutout in cutouts:
        assert cutout.photo
        assert cutout.rgba.shape == (10, 12, 4)
        assert (cutout.rgba == (200, 20, 10, 255)).all()
    assert [(c.foot, c.size) for c in cutouts[:2]] == [(0.625, 0.25), (None, 0.25)]
    seen, unseen = load_cutouts(tmp_path / "out" / "outliers", ["pallet"], tmp_path / "out" / "hard_negatives")
    assert {c.kind for c in seen} == {"road paint"}
    assert len(unseen) == 4
    assert described(named)[0] == "pallet: 2 objects of 2 bags, 4 in outliers"


def test_false_alarms_are_what_training_shows_as_known(harvest, tmp_path):
    export_harvest(harvest, NAMED, tmp_path / "out", progress=False)
    config = HardNegativeConfig(("out/hard_negatives",), 0.5, {"road paint": "road"})
    hard = open_hard_negatives(config, tmp_path, CAMVID11, (3, 4))
    assert hard is not None
    assert hard.counts() == ["2 of road paint (as road)"]


def test_new_classes_are_a_data_set_of_pycocotools_with_frames_where_they_were_kept(harvest, tmp_path):
    export_harvest(harvest, NAMED, tmp_path / "out", progress=False)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out" / "classes" / "annotations" / "instances_default.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["scooter"]
    images = coco.loadImgs(coco.getImgIds())
    assert [len(coco.getAnnIds([i["id"]])) for i in images] == [2, 1]
    for entry in images:
        picture = cv2.imread(str(tmp_path / "out" / "classes" / "images" / "default" / entry["file_name"]))
        assert picture.shape[:2] == (entry["height"], entry["width"])
    whole, crop = (coco.loadAnns(coco.getAnnIds([i["id"]]))[0] for i in images)
    assert (whole["bbox"], whole["area"], whole["iscrowd"]) == ([10, 20, 12, 10], 120, 0)
    assert np.flatnonzero(coco.annToMask(whole).any(axis=1)).tolist() == list(range(20, 30))
    assert (crop["bbox"], crop["area"]) == ([6, 5, 12, 10], 120)


def test_the_card_says_what_there_is_and_its_keys_are_those_of_the_configuration(harvest, tmp_path):
    export_harvest(harvest, NAMED, tmp_path / "out", progress=False)
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["task_categories"] == ["image-segmentation"]
    assert "| pallet | stays unknown: `outliers/` | 2 | 4 | 1 | 2 |" in card
    assert harvest.hash in card
    keys = yaml.safe_load(card.split("```yaml")[1].split("```")[0])["data"]
    assert HardNegativeConfig(tuple(keys["hard_negatives"]["roots"]), keys["hard_negatives"]["prob"])
    assert keys["outliers"] == {"more_roots": ["THIS_FOLDER/outliers"]}
    info = json.loads((tmp_path / "out" / "export.json").read_text())
    assert info["harvest"] == harvest.hash
    assert {n["name"]: (n["kind"], n["objects"], n["bags"]) for n in info["names"]} == {
        "pallet": ("outlier", 2, ["drive_0", "drive_1"]),
        "road paint": ("false_alarm", 1, ["drive_0"]),
        "scooter": ("class", 3, ["drive_0"]),
    }


def test_an_earlier_export_is_replaced_and_other_folders_are_left_alone(harvest, tmp_path):
    out = tmp_path / "out"
    export_harvest(harvest, NAMED, out, progress=False)
    export_harvest(harvest, Choices({1: PAINT}, {}), out, progress=False)
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "export.json", "hard_negatives"]
    assert "outliers" not in (out / "README.md").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="holds something else than an export"):
        export_harvest(harvest, NAMED, tmp_path / "mine", progress=False)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_missing_crop_is_named_and_the_earlier_export_stays(harvest, tmp_path):
    out = tmp_path / "out"
    export_harvest(harvest, NAMED, out, progress=False)
    lost = harvest.path(record(1).crop.replace("_0", "_1"))
    lost.unlink()
    with pytest.raises(DataError, match=f"{lost}: missing, the crop of record {record(1).id}"):
        export_harvest(harvest, NAMED, out, progress=False)
    assert len(read_cutouts(out / "outliers")) == 4
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            Choices({0: Choice("Road", "class")}, {}),
            "'Road' .class. is a class that the model knows; choose",
        ),
        (Choices({0: Choice("car", "outlier")}, {}), "'car' .outlier. is a class that the model knows"),
        (Choices({0: PALLET, 1: Choice("pallet", "class")}, {}), "'pallet' is named as outlier and 'pallet' as class"),
        (Choices({0: PALLET, 1: Choice("Pallet", "outlier")}, {}), "a name means one thing in one spelling"),
        (Choices({}, {}), "the choices name none of its objects"),
    ],
)
def test_names_that_contradict_are_refused(harvest, tmp_path, choices, message):
    with pytest.raises(DataError, match=message):
        export_harvest(harvest, choices, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_mask": "PPYo1"}, "full_mask of record"),
        ({"image_height": 40}, "is 64x48, record 0000000000000000 says 64x40"),
    ],
)
def test_a_frame_that_does_not_fit_its_record_is_named(tmp_path, changes, message):
    harvest = make_harvest(tmp_path / "h", [sighting(0, cluster=0, frame="frames/a.jpg", **changes)])
    with pytest.raises(DataError, match=message):
        export_harvest(harvest, Choices({0: SCOOTER}, {}), tmp_path / "out", progress=False)


def test_specks_are_left_out_and_counted(tmp_path):
    harvest = make_harvest(tmp_path / "h", [sighting(0, cluster=0), sighting(1, cluster=0)])
    speck = np.zeros((20, 24), np.uint8)
    speck[3:6, 3:6] = 255
    cv2.imwrite(str(harvest.path(record(0).mask)), speck)
    export_harvest(harvest, Choices({0: PALLET}, {}), tmp_path / "out", progress=False)
    assert len(read_cutouts(tmp_path / "out" / "outliers")) == 3
    assert json.loads((tmp_path / "out" / "export.json").read_text())["too_small"] == 1


def test_the_command_reads_the_choices_beside_the_harvest(harvest, tmp_path, capsys):
    out = tmp_path / "out"
    clusters = {"0": {"name": "pallet", "kind": "outlier"}}
    choices = {"format": 1, "harvest": harvest.hash, "clusters": clusters, "objects": {}}
    (harvest.folder / "choices.json").write_text(json.dumps(choices))
    assert main(["harvest", "export", str(harvest.folder), "--out", str(out)]) == 0
    assert "pallet: 2 objects of 2 bags, 4 in outliers" in capsys.readouterr().out
    choices["harvest"] = "f" * 64
    (tmp_path / "other.json").write_text(json.dumps(choices))
    arguments = ["harvest", "export", str(harvest.folder), "--choices", str(tmp_path / "other.json"), "--out", str(out)]
    assert main(arguments) == 2
    assert "chosen in the gallery of another harvest" in capsys.readouterr().err
    assert len(read_cutouts(out / "outliers")) == 4


def test_masked_classes_are_not_to_be_seen_in_what_goes_out_for_labelling(tmp_path):
    item = sighting(0, cluster=0, frame="frames/a.jpg", classes=("crops/classes_0.png", "crops/classes_1.png"))
    harvest = know(make_harvest(tmp_path / "h", [item]))
    noise = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    cv2.imwrite(str(harvest.path(item.crop)), noise)
    classes = np.full((20, 24), CAMVID11.names.index("road"), np.uint8)
    person = (slice(2, 14), slice(14, 20))
    classes[person] = CAMVID11.names.index("pedestrian")
    for name in item.classes:
        cv2.imwrite(str(harvest.path(name)), classes)
    export_harvest(harvest, Choices({0: SCOOTER}, {}), tmp_path / "out", ("people",), progress=False)
    (file,) = (tmp_path / "out" / "classes" / "images" / "default").iterdir()
    shown = cv2.imread(str(file)).astype(int)
    assert shown.shape == noise.shape
    assert (np.abs(shown - noise)[person].max(axis=2) > 0).mean() > 0.9
    np.testing.assert_array_equal(shown[16:, :10], noise[16:, :10])
    with pytest.raises(ConfigError, match="--blur horses: the model has no such class"):
        export_harvest(harvest, Choices({0: SCOOTER}, {}), tmp_path / "out", ("horses",), progress=False)


def test_masked_classes_are_not_to_be_seen_in_whole_frames_either(tmp_path):
    item = sighting(0, cluster=0, frame="frames/a.jpg")
    harvest = know(make_harvest(tmp_path / "h", [item]))
    # Grey: JPEG halves the resolution of colours.
    noise = np.repeat(np.random.default_rng(0).integers(0, 255, (*SIZE, 1)), 3, axis=2).astype(np.uint8)
    cv2.imwrite(str(harvest.path("frames/a.jpg")), noise, [cv2.IMWRITE_JPEG_QUALITY, 100])
    classes = np.full(SIZE, CAMVID11.names.index("road"), np.uint8)
    person = (slice(2, 40), slice(40, 60))
    classes[person] = CAMVID11.names.index("pedestrian")
    cv2.imwrite(str(harvest.path("frames/a_classes.png")), classes)
    export_harvest(harvest, Choices({0: SCOOTER}, {}), tmp_path / "out", ("people",), progress=False)
    (file,) = (tmp_path / "out" / "classes" / "images" / "default").iterdir()
    shown = cv2.imread(str(file)).astype(int)
    assert shown.shape == (*SIZE, 3)
    changed = np.abs(shown - noise).mean(axis=2)
    assert changed[person].mean() > 30
    assert changed[:, :30].mean() < 10
    cv2.imwrite(str(harvest.path("frames/a_classes.png")), classes[1:])
    with pytest.raises(DataError, match="frames/a_classes.png: expected 8 bits"):
        export_harvest(harvest, Choices({0: SCOOTER}, {}), tmp_path / "other", ("people",), progress=False)
