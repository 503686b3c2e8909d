"""The same drawn frames in every format give the same labels; what does not fit is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from m2a_core.cli.main import main
from m2a_core.data.own.checking import check_own
from m2a_core.data.own.opening import open_own
from m2a_core.errors import ConfigError, DataError
from test.data.drawn_frames import (
    BOXES,
    CLASSES,
    EXPECTED,
    NUMBERS,
    SIZE,
    WRITERS,
    complaint,
    drawn,
    opened,
    write,
    write_mask,
)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_drawn_labels(tmp_path: Path, name: str) -> None:
    kind = write(tmp_path / "root", name)
    dataset = opened(tmp_path / "root", kind)
    assert [frame.split for frame in dataset.listing.frames] == ["train", "val"]
    for frame in dataset.listing.frames:
        image, truth = frame.read()
        expected, numbers = EXPECTED, NUMBERS
        if name == "packed cityscapes":
            columns = np.arange(2 * SIZE[0]) * SIZE[1] // (2 * SIZE[0])
            expected, numbers = EXPECTED[:, columns], NUMBERS[:, columns]
        assert image.shape == (*expected.shape, 3)
        np.testing.assert_array_equal(truth.label, expected)
        assert truth.instances is not None
        # "truck" of Cityscapes' distribution is a group without a number.
        numbers = np.where(expected == 1, numbers, 0)
        pairs = {tuple(pair) for pair in np.stack([truth.instances.ravel(), numbers.ravel()], 1).tolist()}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 3


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_checked_and_drawn(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = write(tmp_path / "root", name)
    assert main(["data", "check", str(tmp_path / "root"), "--format", kind]) == 0
    text = capsys.readouterr().out
    assert "vehicle" in text
    assert "2 things" in text
    assert (tmp_path / "root" / "check.jpg").is_file()


def _spoil_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = next((root / "annotations").glob("*_train*.json"))
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def _spoil_text(file: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1))

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("coco instances", _spoil_json(lambda c: c["images"].append({**c["images"][0], "id": 9})),
         "images 0 and 9 are both a_001.png; keep one"),
        ("coco instances", _spoil_json(lambda c: c["images"].append({**c["images"][0], "file_name": "b.png"})),
         "two images have the id 0, a_001.png and b.png; each needs its own"),
        ("coco instances", _spoil_json(lambda c: c["categories"].append({**c["categories"][0], "name": "moose"})),
         "two categories have the id"),
        ("coco instances", _spoil_json(lambda c: c["images"].append({"id": 9, "file_name": "b.png"})),
         "image 9 is b.png, and there is no"),
        ("coco instances", _spoil_json(lambda c: c["images"][0].update(height=40)),
         "annotated at 64x40 pixels, its image is 64x48"),
        ("coco instances", _spoil_json(lambda c: c["categories"].append({"id": 99, "name": "moose"})
                                       or c["annotations"][0].update(category_id=99)),
         "the category 'moose' is of no class in classes.yaml"),
        ("coco instances", _spoil_json(lambda c: c["annotations"][0].update(segmentation=[[1, 2]])),
         "expected polygons of at least three points"),
        ("coco instances", _spoil_json(lambda c: c["images"][0].update(file_name="../../../etc/passwd")),
         "'../../../etc/passwd' is no path below its folder"),
        ("coco instances", _spoil_json(lambda c: c["annotations"][0].update(iscrowd="0")),
         "annotation 0: iscrowd is '0'; expected 0, 1, true or false"),
        ("coco panoptic", _spoil_json(lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd="0")),
         "segment 1000: iscrowd is '0'; expected 0, 1, true or false"),
        ("coco panoptic", _spoil_json(lambda c: c["annotations"][0].update(file_name="/etc/passwd")),
         "'/etc/passwd' is no path below its folder"),
        ("cvat", _spoil_text("annotations.xml", 'name="train/', 'name="../../'), "is no path below its folder"),
        ("cvat", _spoil_text("annotations.xml", 'subset="', 'subset="../'), "is no path below its folder"),
        ("coco panoptic", _spoil_json(lambda c: c["annotations"].append(c["annotations"][0])),
         "two annotations of image 0; keep one"),
        ("coco panoptic", _spoil_json(lambda c: c["annotations"].clear()), "no annotation of image 0"),
        ("coco panoptic", lambda root: next((root / "annotations" / "panoptic_train").iterdir()).unlink(),
         "cannot read the file"),
        ("cvat", _spoil_text("annotations.xml", 'name="val/', 'name="train/'), "two annotations of train/a_001.png"),
        ("cvat", _spoil_text("annotations.xml", "a_001", "b_001"), "train/b_001.png: there is no"),
        ("cvat", _spoil_text("annotations.xml", 'height="48"', 'height="40"'), "annotated at 64x40 pixels"),
        ("cvat", _spoil_text("annotations.xml", 'label="car"', 'label="moose"'), "the category 'moose' is of no class"),
        ("cvat", _spoil_text("annotations.xml", 'rle="0,', 'rle="1,'),
         "cannot be drawn (its run lengths do not fill its box)"),
        ("cvat", _spoil_text("annotations.xml", "<image", "<!ENTITY a 'b'><image"), "declares entities"),
        ("cvat", _spoil_text("annotations.xml", "</image>", ""), "not XML"),
        ("yolo", _spoil_text("train/labels/a_001.txt", "0 ", "9 "), "line 1: class 9 is none of 0, 1, 2, 3, 4"),
        ("yolo", _spoil_text("train/labels/a_001.txt", "0 0.0", "0 1.5"), "line 1: expected shares of the image"),
        ("yolo", lambda root: (root / "train/labels/a_001.txt").write_text("0 0.5 0.5 0.2 0.2 0.3 0.3 0.9\n"),
         "line 1: expected at least three points, X and Y each, got 7 numbers"),
        ("yolo", _spoil_text("data.yaml", ": sky", ": Road"), "the categories 0 and 1 are both called 'Road'"),
        ("yolo", lambda root: (root / "data.yaml").write_text("names: road"), "expected 'names', a list"),
        ("yolo", lambda root: (root / "data.yaml").write_text("names: {0: road, 0: sky}"), "the key '0' stands twice"),
        ("coco panoptic", _spoil_json(lambda c: c["annotations"][0]["segments_info"].append(
            c["annotations"][0]["segments_info"][0])), "two segments have the id"),
        ("cvat", _spoil_text("annotations.xml", 'xbr="', 'xbr="-'), "its corners are not top left and bottom right"),
        ("yolo", lambda root: (root / "train/labels/a_001.txt").write_text("0 0.5 0.5 0.2 0.2\n"),
         "line 1: a box, not an outline"),
        ("yolo", lambda root: (root / "train/labels/b.txt").write_text(""), "b.txt: a label file without its image"),
        ("yolo", _spoil_text("data.yaml", "names", "nouns"), "expected 'names'"),
        ("cityscapes", lambda root: shutil.rmtree(root / "gtFine" / "train"), "1 of 1 images have no labels"),
        ("packed cityscapes", lambda root: write_mask(root / "ids/train/a.png", np.full(SIZE, 5000, np.uint16)),
         "label values outside the map: 5 "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, spoil: Callable[[Path], object], said: str
) -> None:
    kind = write(tmp_path / "root", name)
    spoil(tmp_path / "root")
    assert main(["data", "check", str(tmp_path / "root"), "--format", kind]) == 2
    assert said in capsys.readouterr().err


def test_what_no_object_covers_is_background_where_the_classes_have_one(tmp_path: Path) -> None:
    kind = write(tmp_path / "root", "yolo")
    content = {**CLASSES, "classes": [*CLASSES["classes"], {"name": "Background", "id": 99}]}
    (tmp_path / "root" / "classes.yaml").write_text(yaml.safe_dump(content))
    _, truth = opened(tmp_path / "root", kind).listing.frames[0].read()
    np.testing.assert_array_equal(truth.label == 3, drawn(dict.fromkeys(BOXES, 0), 1) == 1)


def test_cityscapes_names_that_are_none_are_named(tmp_path: Path) -> None:
    write(tmp_path / "root", "cityscapes")
    (tmp_path / "root" / "classes.yaml").write_text(yaml.safe_dump({"classes": [{"name": "moose"}]}))
    with pytest.raises(ConfigError, match="class 'moose': the annotations have no class 'moose'; they have unlabeled"):
        open_own(tmp_path / "root", "cityscapes")
    with pytest.raises(DataError, match="no frame of the format 'cvat'"):
        open_own(tmp_path / "root", "cvat")


@pytest.mark.parametrize("angle", [0, 30, 90, 215])
@pytest.mark.parametrize("tag", ["box", "ellipse"])
def test_turned_shapes_of_cvat_are_drawn_turned(tmp_path: Path, tag: str, angle: int) -> None:
    kind = write(tmp_path / "root", "cvat")
    box = 'xtl="20" ytl="18" xbr="44" ybr="28"' if tag == "box" else 'cx="32" cy="23" rx="12" ry="5"'
    image = f'<image name="train/a_001.png" subset="Train"><{tag} label="car" {box} rotation="{angle}"/></image>'
    (tmp_path / "root" / "annotations.xml").write_text(f"<annotations>{image}</annotations>")
    (frame,) = opened(tmp_path / "root", kind).split("train")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    radians = np.deg2rad(angle)
    along = (x - 32) * np.cos(radians) + (y - 23) * np.sin(radians)
    across = (y - 23) * np.cos(radians) - (x - 32) * np.sin(radians)
    inside = (abs(along) < 12) & (abs(across) < 5) if tag == "box" else (along / 12) ** 2 + (across / 5) ** 2 < 1
    drawn = frame.read()[1].label == 1
    assert (drawn != inside).sum() < 30
    assert abs(int(drawn.sum()) - int(inside.sum())) < 15


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic"])
def test_no_value_of_a_json_is_more_than_named(tmp_path: Path, name: str) -> None:
    kind = write(tmp_path / "root", name)
    path = next((tmp_path / "root" / "annotations").glob("*_train*.json"))
    whole = json.loads(path.read_text())
    seen = set()
    for place in _places(whole):
        general = tuple("*" if isinstance(key, int) else key for key in place)
        if general in seen:
            continue
        seen.add(general)
        for value in (None, "x", -1, 1.5, float("nan"), [], {}, [None], True):
            content = json.loads(json.dumps(whole))
            at = content
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = value
            path.write_text(json.dumps(content))
            assert str(tmp_path) in complaint(tmp_path / "root", kind), (place, value)


def _places(content: Any) -> Iterator[tuple[Any, ...]]:
    """Keys on the way to each value of a JSON document."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        yield (key,)
        yield from ((key, *place) for place in _places(value))


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "nan", "inf", "1e99", ",", "1,2;3"])
def test_no_attribute_of_cvat_is_more_than_named(tmp_path: Path, value: str) -> None:
    kind = write(tmp_path / "root", "cvat")
    path = tmp_path / "root" / "annotations.xml"
    whole = path.read_text()
    for key in sorted(set(re.findall(r' (\w+)="', whole))):
        path.write_text(re.sub(rf' {key}="[^"]*"', f' {key}="{value}"', whole))
        assert str(tmp_path) in complaint(tmp_path / "root", kind), key


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic", "cvat", "yolo", "folder"])
def test_marks_and_line_ends_of_windows_change_nothing(tmp_path: Path, name: str) -> None:
    kind = write(tmp_path / "root", name)
    for path in [p for p in (tmp_path / "root").rglob("*") if p.suffix in (".json", ".txt", ".yaml", ".xml")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    for frame in opened(tmp_path / "root", kind).listing.frames:
        np.testing.assert_array_equal(frame.read()[1].label, EXPECTED)


@pytest.mark.parametrize(("value", "crowd"), [(0, False), (1, True), (False, False), (True, True)])
def test_crowds_are_void(tmp_path: Path, value: Any, crowd: bool) -> None:
    root = tmp_path / "root"
    kind = write(root, "coco instances")
    _spoil_json(lambda c: [entry.update(iscrowd=value) for entry in c["annotations"]])(root)
    label = opened(root, kind).split("train")[0].read()[1].label
    np.testing.assert_array_equal(label, np.full(SIZE, 255) if crowd else EXPECTED)


@pytest.mark.parametrize(("name", "said"), [("yolo", "they teach that no object"), ("folder", "nothing is learnt")])
def test_a_frame_without_labels_is_noted_by_what_it_teaches(tmp_path: Path, name: str, said: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    label = opened(root, kind).split("train")[0].labels
    assert label is not None
    if name == "yolo":
        label.unlink()
    else:
        write_mask(label, np.full(SIZE, 255, np.uint8))
    assert sum(said in note for note in check_own(opened(root, kind)).notes) == 1


def test_a_negative_number_is_no_instance(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    kind = write(root, "folder")
    for path in (root / "instances").rglob("*.png"):
        Image.fromarray(np.where(NUMBERS > 0, NUMBERS, -1).astype(np.int32)).save(path.with_suffix(".tif"))
        path.unlink()
    for kinds in ("images", "masks", "instances"):
        shutil.copytree(root / kinds / "train" / "drive", root / kinds / "train" / "other")
    assert main(["data", "split", str(root), "--out", str(out)]) == 0
    for where in (root, out):
        for frame in opened(where, kind).listing.frames:
            np.testing.assert_array_equal(frame.read()[1].instances, NUMBERS)
