"""The same drawn frames in every format give the same labels; what does not fit is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from m2a_core.cli.main import main
from m2a_core.data.own.checking import check_own
from m2a_core.data.own.frames import OwnDataset
from m2a_core.data.own.opening import open_own
from m2a_core.errors import ConfigError, DataError

SIZE = (48, 64)
CLASSES: dict[str, Any] = {
    "classes": [
        {"name": "road", "id": 7, "color": [128, 64, 128], "thing": False},
        {"name": "vehicle", "from": ["car", "truck"], "color": [0, 0, 142], "thing": True},
        {"name": "sky", "id": 23, "color": [70, 130, 180], "thing": False},
    ],
    "void": [255, "dirt"],
}
BOXES = {
    "road": (24, 48, 0, 64),
    "sky": (0, 20, 0, 64),
    "car": (20, 32, 8, 20),
    "truck": (16, 28, 40, 60),
    "dirt": (44, 48, 0, 8),
}
"""Name -> rows and columns; later ones lie over earlier ones. Rows 20 to 23 are unlabelled but for the cars."""
IDS = {"road": 7, "sky": 23, "car": 26, "truck": 27, "dirt": 0}


def drawn(values: dict[str, int], other: int) -> np.ndarray:
    found = np.full(SIZE, other, np.int32)
    for name, (top, bottom, left, right) in BOXES.items():
        found[top:bottom, left:right] = values[name]
    return found


EXPECTED = drawn({"road": 0, "sky": 2, "car": 1, "truck": 1, "dirt": 255}, 255)
NUMBERS = drawn({"road": 0, "sky": 0, "car": 1, "truck": 2, "dirt": 0}, 0)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(len(str(path))).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), image)


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)


def folder(root: Path) -> None:
    content = {**CLASSES, "classes": [*CLASSES["classes"]], "void": [255, 0]}
    content["classes"][1] = {**CLASSES["classes"][1], "from": [26, 27]}
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    for split in ("train", "val"):
        write_image(root / "images" / split / "drive" / "a.001.jpg")
        write_mask(root / "masks" / split / "drive" / "a.001.png", drawn(IDS, 255).astype(np.uint8))
        write_mask(root / "instances" / split / "drive" / "a.001.png", NUMBERS.astype(np.uint16))


def _region(number: int, name: str, image: int) -> dict[str, Any]:
    top, bottom, left, right = BOXES[name]
    polygon: Any = [[left, top, right, top, right, bottom, left, bottom]]
    if number % 2:
        mask = np.zeros(SIZE, np.uint8)
        mask[top:bottom, left:right] = 1
        polygon = coco_mask.encode(np.asfortranarray(mask))
        polygon = {"size": list(polygon["size"]), "counts": polygon["counts"].decode()}
    return {
        "id": 100 * image + number,
        "image_id": image,
        "category_id": IDS[name],
        "segmentation": polygon,
        "iscrowd": 0,
    }


def coco_content(names: list[str]) -> dict[str, Any]:
    images = [{"id": i, "file_name": n, "height": SIZE[0], "width": SIZE[1]} for i, n in enumerate(names)]
    return {
        "images": images,
        "categories": [{"id": i, "name": n.title()} for n, i in IDS.items()],
        "annotations": [_region(k, n, image["id"]) for image in images for k, n in enumerate(BOXES)],
    }


def coco(root: Path) -> None:
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        write_image(root / f"{split}2017" / "a_001.png")
        content = coco_content(["a_001.png"])
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def panoptic(root: Path) -> None:
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.png")
        content = coco_content(["a_001.png"])
        numbers = {name: 1000 + 7 * k for k, name in enumerate(BOXES)}
        content["annotations"] = [
            {
                "image_id": 0,
                "file_name": "a_001.png",
                "segments_info": [{"id": numbers[n], "category_id": IDS[n]} for n in BOXES],
            }
        ]
        ids = drawn(numbers, 0)
        png = np.dstack([ids >> 16, ids >> 8 & 255, ids & 255]).astype(np.uint8)
        write_mask(root / "annotations" / f"panoptic_{split}" / "a_001.png", png)
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))


def cityscapes(root: Path) -> None:
    ids = {**IDS, "dirt": 1}  # ego vehicle
    numbered = drawn({**ids, "car": 26001, "truck": 27000}, 3)
    (root / "classes.yaml").write_text(yaml.safe_dump({**CLASSES, "void": 255}))
    for split in ("train", "val"):
        write_image(root / "leftImg8bit" / split / "ulm" / "ulm_000_001_leftImg8bit.png")
        stem = root / "gtFine" / split / "ulm" / "ulm_000_001_gtFine_"
        write_mask(Path(f"{stem}labelIds.png"), drawn(ids, 3).astype(np.uint8))
        write_mask(Path(f"{stem}instanceIds.png"), numbered.astype(np.uint16))


def numbered_masks(root: Path) -> None:
    content = {**CLASSES, "classes": [*CLASSES["classes"]], "void": [255, 0]}
    content["classes"][1] = {**CLASSES["classes"][1], "from": [26, 27]}
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.webp")
        write_mask(
            root / "masks" / split / "a_001.png", drawn({**IDS, "car": 26001, "truck": 27004}, 255).astype(np.uint16)
        )


def packed(root: Path) -> None:
    # Its ids are not those of Cityscapes' files: classes go by name.
    by_name = [{key: value for key, value in entry.items() if key != "id"} for entry in CLASSES["classes"]]
    (root / "frames.csv").write_text("split,city,name\ntrain,ulm,a\nval,bonn,a\n")
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": by_name, "void": [255, "wall"]}))
    packed_ids = {"road": 0, "sky": 10000, "car": 13001, "truck": 14002, "dirt": 3000}
    for split in ("train", "val"):
        write_image(root / "images" / split / "a.jpg")
        write_mask(root / "ids" / split / "a.png", drawn(packed_ids, 65535).astype(np.uint16))


def cvat(root: Path) -> None:
    lines = []
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.png")
        lines.append(f'<image id="0" name="{split}/a_001.png" subset="{split}" width="{SIZE[1]}" height="{SIZE[0]}">')
        for k, (name, (top, bottom, left, right)) in reversed(list(enumerate(BOXES.items()))):
            corners = f"{left},{top};{right},{top};{right},{bottom};{left},{bottom}"
            lines.append(
                [
                    f'<polygon label="{name}" points="{corners}" z_order="{k}"/>',
                    f'<mask label="{name}" rle="0,{(bottom - top) * (right - left)}" left="{left}" top="{top}" '
                    f'width="{right - left}" height="{bottom - top}" z_order="{k}"/>',
                    f'<box label="{name}" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="{k}"/>',
                ][k % 3]
            )
        lines += ['<polyline label="road" points="1,1;5,5"/>', "</image>"]
    text = f"<?xml version='1.0'?><annotations><version>1.1</version>{''.join(lines)}</annotations>"
    (root / "annotations.xml").write_text(text)


def yolo(root: Path) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": dict(enumerate(BOXES))}))
    for split, name in (("train", "train"), ("val", "valid")):
        write_image(root / name / "images" / "a_001.png")
        lines = []
        for k, (top, bottom, left, right) in enumerate(BOXES.values()):
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            lines.append(" ".join([str(k), *(f"{x / SIZE[1]} {y / SIZE[0]}" for x, y in corners)]))
        (root / name / "labels").mkdir()
        (root / name / "labels" / "a_001.txt").write_text("\n".join(lines) + "\n")
        del split


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "folder": ("folder", folder),
    "coco instances": ("coco", coco),
    "coco panoptic": ("coco", panoptic),
    "cityscapes": ("cityscapes", cityscapes),
    "cityscapes ids in a folder": ("cityscapes", numbered_masks),
    "packed cityscapes": ("cityscapes", packed),
    "cvat": ("cvat", cvat),
    "yolo": ("yolo-seg", yolo),
}


def write(root: Path, name: str) -> str:
    root.mkdir()
    (root / "classes.yaml").write_text(yaml.safe_dump(CLASSES))
    kind, writer = WRITERS[name]
    writer(root)
    return kind


def opened(root: Path, kind: str) -> OwnDataset:
    dataset = open_own(root, kind)
    assert dataset.listing.problems == []
    return dataset


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
            assert str(tmp_path) in _complaint(tmp_path / "root", kind), (place, value)


def _complaint(root: Path, kind: str) -> str:
    """What is said of data that cannot be read; where they can, their root."""
    try:
        for frame in open_own(root, kind).listing.frames:
            frame.read()
    except DataError as error:
        return str(error)
    return str(root)


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
        assert str(tmp_path) in _complaint(tmp_path / "root", kind), key


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic", "cvat", "yolo", "folder"])
def test_marks_and_line_ends_of_windows_change_nothing(tmp_path: Path, name: str) -> None:
    kind = write(tmp_path / "root", name)
    for path in [p for p in (tmp_path / "root").rglob("*") if p.suffix in (".json", ".txt", ".yaml", ".xml")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    for frame in opened(tmp_path / "root", kind).listing.frames:
        np.testing.assert_array_equal(frame.read()[1].label, EXPECTED)


@pytest.mark.parametrize("name", ["folder", "coco instances", "cvat", "yolo"])
def test_frames_whose_folders_and_names_join_to_one_name_have_names_of_their_own(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    (old,) = (frame.image for frame in open_own(root, kind).split("train"))
    for new in ("cam/front_001.png", "cam_front/001.png"):
        for folder in [p for p in (root / "images/train", root / "train2017", root / "train/images") if p.is_dir()]:
            (folder / new).parent.mkdir()
            shutil.copy(old, folder / new)
        if name == "folder":
            write_mask(root / "masks/train" / new, drawn(IDS, 255).astype(np.uint8))
    content = coco_content(["cam/front_001.png", "cam_front/001.png"])
    if name == "coco instances":
        (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    images = "".join(f'<image name="train/{n}"/>' for n in ("cam/front_001.png", "cam_front/001.png"))
    if name == "cvat":
        (root / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    frames = [frame for frame in opened(root, kind).split("train") if "front" in frame.name]
    assert len(frames) == len({frame.name for frame in frames}) == 2
    assert len({frame.image for frame in frames}) == 2
    assert sum("have the name of another" in note for note in open_own(root, kind).listing.notes) == 1


def test_folders_that_are_links_are_read_and_circles_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    for part in ("images", "masks", "instances"):
        (root / part / "train" / "drive").rename(tmp_path / f"elsewhere {part}")
        (root / part / "train" / "drive").symlink_to(tmp_path / f"elsewhere {part}")
        (root / part / "train" / "again").symlink_to(root / part / "train")
    (frame,) = opened(root, kind).split("train")
    truth = frame.read()[1]
    np.testing.assert_array_equal(truth.label, EXPECTED)
    assert truth.instances is not None


def test_a_link_to_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    image = root / "images/train/drive/a.001.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "absent.jpg")
    assert str(image) in _complaint(root, kind)


@pytest.mark.parametrize("masks", ["same name", "val"])
@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
def test_folders_of_a_split_may_have_its_other_names(tmp_path: Path, name: str, masks: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    for part in ("images", "instances", *(["masks"] if masks == "same name" else [])):
        (root / part / "val").rename(root / part / name)
    dataset = opened(root, kind)
    (frame,) = dataset.split("val")
    assert dataset.listing.notes == []
    truth = frame.read()[1]
    np.testing.assert_array_equal(truth.label, EXPECTED)
    assert truth.instances is not None


@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
@pytest.mark.parametrize("kind", ["cvat", "yolo"])
def test_folders_of_a_split_have_other_names_in_other_formats_too(tmp_path: Path, kind: str, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, kind)
    if kind == "cvat":
        (root / name).mkdir()
        (root / "images").rename(root / name / "images")
        (root / "annotations.xml").write_text(
            '<annotations><image name="train/a_001.png"/><image name="val/a_001.png"/></annotations>'
        )
        (root / "annotations.xml").rename(root / name / "annotations.xml")
        assert len(opened(root, kind).split("val")) == 2
    else:
        (root / "valid").rename(root / name)
        assert len(opened(root, kind).split("val")) == 1


@pytest.mark.parametrize("kind", ["folder", "yolo"])
def test_images_of_no_split_are_noted(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    kind = write(root, kind)
    write_image(root / "images" / "extra" / "b.jpg")
    write_image(root / "images" / "c.jpg")
    (note,) = [note for note in opened(root, kind).listing.notes if "no folder of a split" in note]
    assert "images: 2 images are in no folder of a split (train, val, test) and are skipped, such as" in note
    assert note.endswith("images/c.jpg")


def test_masks_of_a_split_without_images_are_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    shutil.copytree(root / "masks" / "val", root / "masks" / "test")
    (problem,) = open_own(root, kind).listing.problems
    assert "masks/test/drive/a.001.png: a mask without its image" in problem


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".bmp"])
def test_numbers_of_things_may_have_every_ending_of_masks(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    old = root / "instances/train/drive/a.001.png"
    write_mask(old.with_suffix(suffix), NUMBERS.astype(np.uint8))
    old.unlink()
    truth = opened(root, kind).split("train")[0].read()[1]
    assert truth.instances is not None
    assert set(np.unique(truth.instances).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((".png", ".tif"), "a.001.png and a.001.tif: two instance maps of a.001.jpg; keep one"),
        ((".jpg",), "a.001.jpg: the instance map is a JPEG, which changes ids"),
        ((".webp",), "a.001.webp: cannot be the instance map of a.001.jpg; save the ids as PNG"),
    ],
)
def test_numbers_of_things_that_cannot_be_read_are_named(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    old = root / "instances/train/drive/a.001.png"
    old.unlink()
    for suffix in files:
        write_mask(old.with_suffix(suffix), NUMBERS.astype(np.uint8))
    (problem,) = open_own(root, kind).listing.problems
    assert said in problem


OTHER_JSON: dict[str, Any] = {
    "annotations/captions_train2017.json": {"images": [], "annotations": [{"id": 1, "caption": "a"}]},
    "annotations/captions_val2017.json": {"images": [], "annotations": []},
    "annotations/person_keypoints_train2017.json": coco_content(["a_001.png"]),
    "annotations/image_info_test2017.json": {"images": [], "categories": []},
    "own.json": {"dataset": "own", "miou": 0.5},
    "results.json": [{"image_id": 1}],
}


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic"])
def test_other_json_beside_the_annotations_is_noted_and_skipped(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    for file, content in OTHER_JSON.items():
        (root / file).write_text(json.dumps(content))
    dataset = opened(root, kind)
    assert [frame.split for frame in dataset.listing.frames] == ["train", "val"]
    for frame in dataset.listing.frames:
        np.testing.assert_array_equal(frame.read()[1].label, EXPECTED)
    for file in OTHER_JSON:
        assert sum(str(root / file) in note for note in dataset.listing.notes) == 1, file


def test_annotations_may_have_any_name_but_must_be_whole(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "coco instances")
    for split in ("train", "val"):
        (root / f"annotations/instances_{split}2017.json").rename(root / f"{split}.json")
    assert len(opened(root, kind).listing.frames) == 2
    shutil.copy(root / "train.json", root / "training.json")
    with pytest.raises(DataError, match=r"train.json and training.json: two annotations of the split 'train'"):
        open_own(root, kind)
    (root / "training.json").unlink()
    content = json.loads((root / "train.json").read_text())
    del content["categories"]
    (root / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train.json: expected COCO annotations with lists"):
        open_own(root, kind)


@pytest.mark.parametrize(("value", "crowd"), [(0, False), (1, True), (False, False), (True, True)])
def test_crowds_are_void(tmp_path: Path, value: Any, crowd: bool) -> None:
    root = tmp_path / "root"
    kind = write(root, "coco instances")
    _spoil_json(lambda c: [entry.update(iscrowd=value) for entry in c["annotations"]])(root)
    label = opened(root, kind).split("train")[0].read()[1].label
    np.testing.assert_array_equal(label, np.full(SIZE, 255) if crowd else EXPECTED)


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic"])
@pytest.mark.parametrize("below", ["images/Validation", "validation", "images/valid"])
def test_images_lie_in_folders_of_other_names_of_their_split(tmp_path: Path, name: str, below: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    image = next(path for path in root.rglob("a_001.png") if path.parent.name in ("val", "val2017"))
    (root / below).mkdir(parents=True)
    # The same name as a frame of train: only the folder tells them apart.
    wanted = image.rename(root / below / "a_001.png")
    assert [frame.image for frame in opened(root, kind).split("val")] == [wanted]


def test_cvat_images_of_one_name_in_two_subsets_are_two_frames(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "cvat")
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace('name="train/', 'name="').replace('name="val/', 'name="'))
    frames = opened(root, kind).listing.frames
    assert [(frame.split, frame.image) for frame in frames] == [
        (split, root / "images" / split / "a_001.png") for split in ("train", "val")
    ]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_the_hidden_files_that_macos_leaves_are_no_frames(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    before = opened(root, kind).listing.frames
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\xff of macOS")
    again = opened(root, kind).listing.frames
    assert [(frame.name, frame.image) for frame in again] == [(frame.name, frame.image) for frame in before]
    for frame, whole in zip(again, before, strict=True):
        np.testing.assert_array_equal(frame.read()[1].label, whole.read()[1].label)


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


def test_the_name_of_the_root_says_nothing_of_the_split(tmp_path: Path) -> None:
    root = tmp_path / "latest"
    kind = write(root, "coco instances")
    next((root / "annotations").glob("*_train*.json")).rename(root / "labels.json")
    shutil.rmtree(root / "annotations")
    (root / "train2017" / "a_001.png").rename(root / "a_001.png")
    (frame,) = open_own(root, kind).listing.frames
    assert frame.split == "all"
