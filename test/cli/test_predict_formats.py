"""`m2a predict --format`: files of other tools, read back by those tools or by their format's rules."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from m2a_core.cli.main import main
from m2a_core.interop.coco_json import number_images
from m2a_core.labels.builtin import CAMVID11
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle

COLORS = tiny_colors()
CAR = CAMVID11.names.index("car")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


def write_scene(path: Path, red: bool = True) -> Path:
    """Sky over road, a car on it, and with ``red`` two unknown boxes."""
    image = np.full((96, 128, 3), COLORS["road"], np.uint8)
    image[:32] = COLORS["sky"]
    image[48:80, 56:80] = COLORS["car"]
    if red:
        image[48:80, 8:40] = image[48:72, 96:120] = RED
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def predict(model: str, out: Path, *arguments: object) -> int:
    return main(
        ["predict", *map(str, arguments), "--model", model, "--out", str(out), "--threads", "1", "--horizon", "off"]
    )


@pytest.fixture(scope="module")
def results(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    scenes = [write_scene(folder / "000042.png"), write_scene(folder / "000007.png", red=False)]
    assert predict(model, folder / "out", *scenes, "--format", "npz,coco", "--format", "png") == 0
    return folder / "out"


def arrays_of(results: Path, stem: str) -> dict[str, np.ndarray]:
    with np.load(results / f"{stem}.npz") as arrays:
        return dict(arrays)


def test_panoptic_json_and_pngs_keep_the_rules_of_panopticapi(results):
    content = json.loads((results / "panoptic.json").read_text())
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in content["images"]] == [
        (42, "000042.png", 96, 128),
        (7, "000007.png", 96, 128),
    ]
    categories = {c["id"]: c for c in content["categories"]}
    assert len(categories) == CAMVID11.num_classes + 1
    for annotation in content["annotations"]:
        png = np.array(Image.open(results / "panoptic" / annotation["file_name"]), np.int64)
        ids = png[..., 0] + 256 * png[..., 1] + 256**2 * png[..., 2]
        found = {int(i): int(n) for i, n in zip(*np.unique(ids, return_counts=True), strict=True) if i}
        assert {s["id"]: s["area"] for s in annotation["segments_info"]} == found
        panoptic = arrays_of(results, Path(annotation["file_name"]).stem)["panoptic"]
        np.testing.assert_array_equal(ids == 0, panoptic == 65535)
        for segment in annotation["segments_info"]:
            mask = ids == segment["id"]
            (class_id,) = np.unique(panoptic[mask] // 256)
            names = [*CAMVID11.names, "unknown"]
            assert categories[segment["category_id"]]["name"] == names[class_id]
            assert categories[segment["category_id"]]["isthing"] == (class_id in CAMVID11.things or class_id == 11)
            assert segment["bbox"] == coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8))).tolist()


def test_objects_are_a_data_set_and_results_of_pycocotools(results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(results / "instances.json"))
        found = truth.loadRes(str(results / "instances_results.json"))
        evaluation = COCOeval(truth, found, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    assert sorted(truth.loadCats([a["category_id"]])[0]["name"] for a in truth.loadAnns(truth.getAnnIds([42]))) == [
        "car",
        "unknown",
        "unknown",
    ]
    assert [truth.loadCats([a["category_id"]])[0]["name"] for a in truth.loadAnns(truth.getAnnIds([7]))] == ["car"]
    arrays = arrays_of(results, "000042")
    unknown = sum(truth.annToMask(a) for a in truth.loadAnns(truth.getAnnIds([42], catIds=[12])))
    np.testing.assert_array_equal(unknown > 0, arrays["unknown_instances"] > 0)
    car = truth.loadAnns(truth.getAnnIds([42], catIds=[CAR + 1]))[0]
    mask = truth.annToMask(car) > 0
    np.testing.assert_array_equal(mask, arrays["panoptic"] == CAR * 256 + 1)
    assert car["score"] == pytest.approx(1 - arrays["anomaly"][mask].mean(), abs=1e-6)


def test_pngs_hold_the_arrays(results):
    arrays = arrays_of(results, "000042")
    for key in ("anomaly", "background", "refined", "refined_road"):
        png = cv2.imread(str(results / f"000042_{key}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(png / 65535, np.clip(arrays[key], 0, 1), atol=1e-5)
    for key in ("panoptic", "unknown_instances"):
        png = cv2.imread(str(results / f"000042_{key}.png"), cv2.IMREAD_UNCHANGED)
        assert png.dtype == np.uint16
        np.testing.assert_array_equal(png, arrays[key])
    for key in ("semantic", "open_set"):
        image = Image.open(results / f"000042_{key}.png")
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), arrays[key])
        road = CAMVID11.names.index("road")
        assert np.array(image.convert("RGB"))[90, 4].tolist() == list(CAMVID11.colors[road])


def test_detections_alone_are_the_arrays_that_supervision_takes(model, tmp_path):
    scene = write_scene(tmp_path / "street.png")
    assert predict(model, tmp_path / "out", scene, "--format", "supervision") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["street_detections.npz", "street_overlay.jpg"]
    with np.load(tmp_path / "out" / "street_detections.npz", allow_pickle=False) as arrays:
        loaded = dict(arrays)
    shapes = {key: (value.dtype.kind, value.shape) for key, value in loaded.items()}
    assert shapes == {
        "xyxy": ("f", (2, 4)),
        "mask": ("b", (2, 96, 128)),
        "confidence": ("f", (2,)),
        "class_id": ("i", (2,)),
        "tracker_id": ("i", (2,)),
        "class_name": ("U", (2,)),
    }
    for (x0, y0, x1, y1), mask in zip(loaded["xyxy"].astype(int), loaded["mask"], strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
    sv = pytest.importorskip("supervision", reason="needs the package supervision")
    names = loaded.pop("class_name")
    detections = sv.Detections(data={"class_name": names}, **loaded)
    assert detections["class_name"].tolist() == ["unknown", "unknown"]
    np.testing.assert_array_equal(detections.box_area > 0, True)


@pytest.mark.parametrize(
    ("stems", "ids"),
    [(["000139", "7"], [139, 7]), (["0001", "1"], [1, 2]), (["a", "7"], [1, 2]), (["²", "3"], [1, 2]), ([], [])],
)
def test_images_have_their_own_numbers_where_these_are_distinct(stems, ids):
    assert number_images([Path(f"{stem}.jpg") for stem in stems]) == ids


def test_bad_formats_are_refused(model, tmp_path, capsys):
    scene = write_scene(tmp_path / "street.png")
    with pytest.raises(SystemExit):
        predict(model, tmp_path / "out", scene, "--format", "npz,yolo")
    assert "'yolo': expected some of npz, coco, png, supervision" in capsys.readouterr().err
    assert predict(model, tmp_path / "out", scene, "--format", "coco", "--raw") == 2
    assert "--raw: goes into .npz files" in capsys.readouterr().err
    (tmp_path / "drive.mp4").write_bytes(b"")
    assert predict(model, tmp_path / "out", tmp_path / "drive.mp4", "--format", "coco") == 2
    assert "--format: for images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_costs_only_itself(model, tmp_path, capsys):
    good = write_scene(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:-40])
    assert predict(model, tmp_path / "out", bad, good, "--format", "coco") == 2
    assert str(bad) in capsys.readouterr().err
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["good.png"]
    assert [a["image_id"] for a in content["annotations"]] == [2]


@pytest.mark.parametrize(
    ("formats", "key"), [("npz,png,coco,supervision", "anomaly"), ("png", "anomaly"), ("png", "refined")]
)
def test_evaluate_takes_what_was_written_in_every_format(model, tmp_path, formats, key):
    truth = np.zeros((96, 128), np.uint8)
    truth[48:80, 8:40] = 1
    (tmp_path / "gt").mkdir()
    images = []
    for name in ("a", "b_refined"):
        images.append(write_scene(tmp_path / f"{name}.png"))
        assert cv2.imwrite(str(tmp_path / "gt" / f"{name}.png"), truth)
    assert predict(model, tmp_path / "out", *images, "--format", formats) == 0
    sides = ["--pred", str(tmp_path / "out"), "--gt", str(tmp_path / "gt"), "--key", key]
    assert main(["evaluate", *sides, "--json", str(tmp_path / "x.json")]) == 0
    assert json.loads((tmp_path / "x.json").read_text())["n_frames"] == 2


def test_sequences_have_results_of_their_own_in_every_format(model, tmp_path) -> None:
    for drive in ("drive1", "drive2"):
        (tmp_path / "val" / drive).mkdir(parents=True)
        write_scene(tmp_path / "val" / drive / "1.png")
    assert predict(model, tmp_path / "out", tmp_path / "val", "--format", "png,coco,supervision") == 0
    for stem in ("drive1_1", "drive2_1"):
        for name in (f"panoptic/{stem}.png", f"{stem}_refined.png", f"{stem}_detections.npz", f"{stem}_overlay.jpg"):
            assert (tmp_path / "out" / name).is_file()
    panoptic = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [entry["file_name"] for entry in panoptic["annotations"]] == ["drive1_1.png", "drive2_1.png"]
    assert [entry["file_name"] for entry in panoptic["images"]] == ["drive1/1.png", "drive2/1.png"]
    assert [entry["id"] for entry in panoptic["images"]] == [1, 2]
