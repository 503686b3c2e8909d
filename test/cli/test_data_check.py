"""``m2a data check``: what passes, and every kind of bad input by name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from m2a_core.cli.main import main
from test.data.own_roots import classes, mask_of, write_own

ENTRIES = [
    {"name": "road", "id": 7, "color": [128, 64, 128], "thing": False},
    {"name": "car", "id": 300, "color": [0, 0, 142], "thing": True},
    {"name": "sky", "id": 23, "color": [70, 130, 180], "thing": False},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_own(tmp_path / "root", ENTRIES)


def test_counts_are_those_of_the_masks_and_eight_samples_are_drawn(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", str(root)]) == 0
    text = capsys.readouterr().out
    masks = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted((root / "masks" / "train").iterdir())]
    pixels = np.concatenate([mask.ravel() for mask in masks])
    for entry in ENTRIES:
        share = 100 * (pixels == entry["id"]).mean()
        frames = sum(bool((mask == entry["id"]).any()) for mask in masks)
        line = next(line for line in text.splitlines() if line.strip().startswith(str(entry["name"])))
        assert f"{share:.2f} %" in line
        assert line.endswith(f"in {frames} frames")
    assert "train: 6 frames of 1 sequence (2 of 128x96, 2 of 70x150, 2 of 203x61)" in text
    assert text.endswith("no problems\n")
    picture = cv2.imread(str(root / "check.jpg"))
    assert picture.shape[0] > 4 * 240
    # Every class has its colour in the legend.
    legend = picture[:30, :, ::-1].reshape(-1, 3).astype(int)
    for entry in ENTRIES:
        assert (np.abs(legend - entry["color"]).max(1) < 24).any(), entry["name"]


@pytest.mark.slow
@given(
    count=st.integers(2, 40),
    first=st.sampled_from([0, 1, 256, 40000]),
    step=st.sampled_from([1, 3, 300]),
    things=st.sampled_from(["none", "all", "some"]),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_classes_pass(tmp_path: Path, count: int, first: int, step: int, things: str) -> None:
    chosen = {"none": (), "all": range(count), "some": range(0, count, 3)}[things]
    entries = [e for e in classes(count, first, step, tuple(chosen)) if e["id"] != 255]
    shutil.rmtree(tmp_path / "any", ignore_errors=True)
    write_own(tmp_path / "any", entries, {"train": 3, "val": 1})
    assert main(["data", "check", str(tmp_path / "any")]) == 0


def test_masks_with_a_palette_count_by_index(root: Path, capsys: pytest.CaptureFixture) -> None:
    entries = classes(5)
    shutil.rmtree(root)
    write_own(root, entries)
    for path in (root / "masks").rglob("*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        picture = Image.fromarray(mask.astype(np.uint8), "P")
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        picture.save(path)
    assert main(["data", "check", str(root)]) == 0
    assert "class 4" in capsys.readouterr().out


def test_what_is_no_mistake_is_noted(root: Path, capsys: pytest.CaptureFixture) -> None:
    for kind in ("images", "masks"):
        shutil.rmtree(root / kind / "val")
    mask = next((root / "masks" / "train").iterdir())
    cv2.imwrite(str(mask), np.full_like(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), 255))
    (root / "images" / "train" / "Thumbs.db").write_bytes(b"no picture")
    (root / "masks" / "train" / "desktop.ini").write_text("no mask")
    content = yaml.safe_load((root / "classes.yaml").read_text())
    content["road"] = None
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    assert main(["data", "check", str(root)]) == 0
    text = capsys.readouterr().out
    for said in (
        "val is empty",
        f"1 frames have no label at all, such as {mask.stem}",
        "Thumbs.db",
        "desktop.ini",
        "no class is the road",
    ):
        assert said in text, said


def _first(root: Path, kind: str) -> Path:
    return sorted((root / kind / "train").iterdir())[0]


def _cut(root: Path) -> None:
    mask = cv2.imread(str(_first(root, "masks")), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(_first(root, "masks")), mask[:-1])


def _jpeg_by_name(root: Path) -> None:
    path = _first(root, "masks")
    cv2.imwrite(str(path.with_suffix(".jpg")), mask_of(classes(3), (96, 128), 0).astype(np.uint8))
    path.unlink()


def _jpeg_by_content(root: Path) -> None:
    Image.fromarray(mask_of(classes(3), (96, 128), 0).astype(np.uint8)).save(_first(root, "masks"), "JPEG")


def _foreign_id(root: Path) -> None:
    mask = cv2.imread(str(_first(root, "masks")), cv2.IMREAD_UNCHANGED)
    mask[:2, :5] = 24
    cv2.imwrite(str(_first(root, "masks")), mask)


def _two_masks(root: Path) -> None:
    path = _first(root, "masks")
    cv2.imwrite(str(path.with_suffix(".tif")), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def _two_pictures(root: Path) -> None:
    path = _first(root, "images")
    cv2.imwrite(str(path.with_suffix(".bmp")), cv2.imread(str(path)))


def _empty_class(root: Path) -> None:
    for path in (root / "masks" / "train").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        mask[mask == 300] = 7
        cv2.imwrite(str(path), mask)


def _damaged_picture(root: Path) -> None:
    path = _first(root, "images")
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut, r"train.drive_0000.png: the label is 128x95 pixels, its image 128x96"),
        (lambda root: _first(root, "masks").unlink(), r"train.drive_0000.jpg: has no mask; expected .*drive_0000.png"),
        (lambda root: _first(root, "images").unlink(), r"train.drive_0000.png: a mask without its image"),
        (_jpeg_by_name, r"train.drive_0000.jpg: the mask is a JPEG, which changes ids; save the ids as PNG"),
        (_jpeg_by_content, r"train.drive_0000.png: a JPEG, which changes label values"),
        (_foreign_id, r"train.drive_0000.png: label values outside the map: 24 .*give each a class in classes.yaml"),
        (_two_masks, r"train.drive_0000.png and train.drive_0000.tif: two masks of train.drive_0000.jpg; keep one"),
        (_two_pictures, r"drive_0000.bmp and train.drive_0000.jpg: two images of one name; keep one"),
        (_empty_class, r"class 'car' has no pixel in train: the network cannot learn it"),
        (_damaged_picture, r"train.drive_0000.jpg: the image is cut short"),
        (lambda root: shutil.rmtree(root / "images" / "train"), r"train: no frame that can be read"),
    ],
)
def test_every_problem_is_named_and_the_rest_is_still_counted(
    root: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(root)
    assert main(["data", "check", str(root)]) == 2
    printed = capsys.readouterr()
    assert len([line for line in printed.err.splitlines() if _matches(said, line)]) == 1, printed.err
    assert "val: 3 frames" in printed.out


def _matches(pattern: str, line: str) -> bool:
    return line.startswith("m2a: error: ") and re.search(pattern, line) is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"classes": [*ENTRIES, {"name": "other", "id": 7}]}, "two classes have the id 7: 'road' and 'other'"),
        ({"classes": [*ENTRIES, {"name": "car", "id": 8}]}, "two classes have the name car"),
        ({"classes": [*ENTRIES, {"name": "void", "id": 8}]}, "a class is called 'void'; list its id under void"),
        ({"classes": [*ENTRIES, {"name": "Unknown", "id": 8}]}, "a class is called 'Unknown'; m2a uses this name"),
        ({"classes": classes(200)}, "200 classes; expected at most 199"),
    ],
)
def test_classes_that_do_not_fit_are_named(root: Path, capsys: pytest.CaptureFixture, content: dict, said: str) -> None:
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    assert main(["data", "check", str(root)]) == 2
    assert f"classes.yaml: {said}" in capsys.readouterr().err


def test_roots_that_hold_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", str(tmp_path / "none")]) == 2
    assert "none: no such folder; expected" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "classes.yaml: no such file; expected the classes" in capsys.readouterr().err
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": ENTRIES}))
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "no frame of the format 'folder' in it; expected\nROOT/classes.yaml" in capsys.readouterr().err


def test_the_layout_that_is_expected_is_that_of_the_format(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", str(root), "--format", "cvat"]) == 2
    assert "no frame of the format 'cvat' in it; expected\nROOT/annotations.xml" in capsys.readouterr().err


def test_a_picture_of_no_kind_is_named(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", str(root), "--picture", str(root / "samples.xyz")]) == 2
    assert "samples.xyz: no picture ends in .xyz; name one that ends in .jpg or .png" in capsys.readouterr().err


def test_help_teaches_by_example(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["data", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "m2a data check", "classes.yaml", "images/{train,val}", "config/training/own.yaml"):
        assert word in text, word
