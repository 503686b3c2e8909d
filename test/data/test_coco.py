"""COCO's files: annotations with odd fields, panoptic PNGs of every form, masks pixel for pixel as pycocotools'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as pycocotools_mask

from m2a_core.data.coco import panoptic_frames
from m2a_core.errors import DataError
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_core.labels.panoptic_png import read_segment_ids

IDS = np.array([[1, 70000, 16777215], [300, 300, 0]], np.int32)
ANNOTATED = {1, 70000, 16777215, 300}
EXAMPLES = settings(deadline=None, max_examples=60)
IN_FOLDER = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 30))


def rgb(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def write(path: Path, ids: np.ndarray, form: str = "rgb") -> Path:
    picture = Image.fromarray(rgb(ids))
    if form == "rgba":
        picture.putalpha(255)
    elif form == "palette":
        picture = picture.quantize(256)
    elif form == "grey":
        picture = picture.convert("L")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


@given(ids=arrays(np.int32, SIZES, elements=st.integers(0, (1 << 24) - 1)))
@IN_FOLDER
def test_any_ids_come_back(tmp_path: Path, ids: np.ndarray) -> None:
    found = read_segment_ids(write(tmp_path / "a.png", ids), {*np.unique(ids).tolist()} - {0})
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("form", ["rgb", "rgba", "palette"])
def test_colour_forms_hold_the_same_ids(tmp_path: Path, form: str) -> None:
    np.testing.assert_array_equal(read_segment_ids(write(tmp_path / "a.png", IDS, form), ANNOTATED), IDS)


def test_a_grey_copy_of_a_panoptic_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: a grey picture, which holds no ids of 24 bits; expected RGB"):
        read_segment_ids(write(tmp_path / "a.png", IDS, "grey"), ANNOTATED)


def test_a_grey_png_of_exactly_the_annotated_ids_is_read(tmp_path: Path) -> None:
    ids = np.array([[1, 2, 0], [7, 7, 7]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_segment_ids(tmp_path / "a.png", {1, 2, 7}), ids)


@pytest.mark.parametrize(
    ("annotated", "said"),
    [
        (ANNOTATED - {300}, r"segment ids 300 \(2 pixels\) are not among the 3 annotated ones"),
        (ANNOTATED | {555}, r"has no pixel of the annotated segments \[555\]"),
    ],
)
def test_png_and_annotations_must_fit(tmp_path: Path, annotated: set[int], said: str) -> None:
    with pytest.raises(DataError, match=rf"a\.png: {said}"):
        read_segment_ids(write(tmp_path / "a.png", IDS), annotated)


def write_panoptic(root: Path, change: Any = lambda content: None) -> None:
    """Two frames of three segments."""
    annotations = []
    for i in range(2):
        write(root / f"annotations/panoptic_val2017/{i}.png", np.array([[1, 2, 3]]))
        info = [{"id": n, "category_id": n, "iscrowd": int(n == 3)} for n in (1, 2, 3)]
        annotations.append({"image_id": i, "file_name": f"{i}.png", "segments_info": info})
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(2)],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in ((1, "person"), (2, "sky-other-merged"), (3, "car"))],
    }
    change(content)
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(content))


def text_ids(content: dict[str, Any]) -> None:
    for image in content["images"]:
        image["id"] = str(image["id"])
    content["annotations"][0]["segments_info"][0]["category_id"] = "1"


def test_ids_may_be_numbers_or_text(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    expected = panoptic_frames(tmp_path, "val2017")
    write_panoptic(tmp_path, text_ids)
    assert panoptic_frames(tmp_path, "val2017") == expected


def test_a_segment_without_iscrowd_is_no_crowd(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for part in content["annotations"][0]["segments_info"]:
            del part["iscrowd"]

    write_panoptic(tmp_path, change)
    assert [[s.crowd for s in f.segments] for f in panoptic_frames(tmp_path, "val2017")] == [
        [False, False, False],
        [False, False, True],
    ]


def put(*keys: Any, value: Any = None) -> Any:
    """A change of one entry; of None, the entry is deleted."""

    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        if value is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value

    return change


SEGMENT = ("annotations", 0, "segments_info", 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put(*SEGMENT, "category_id", value=99), r"0\.png: segment 1 is of category 99, which the file does not list"),
        (put("annotations", 0, "image_id", value=7), r"0\.png: is of image 7, which the file does not list"),
        (put("annotations", 1, "file_name", value="0.png"), r"0\.png: annotated twice"),
        (put("annotations", 1, "image_id", value=0), r"1\.png: its image 0\.jpg has two annotations"),
        (put(*SEGMENT, "id", value=2), r"0\.png: two segments have the id"),
        (put(*SEGMENT, "id", value="x"), r"0\.png: a segment's id is 'x'; expected an integer"),
        (put(*SEGMENT, "category_id"), r"0\.png: an entry without 'category_id': \{\"id\": 1"),
        (put("images", 0, "file_name"), r"images: an entry without 'file_name': \{\"id\": 0\}"),
        (put("categories"), "expected COCO annotations with lists of images, annotations and categories"),
        (put("annotations", value=[]), "no annotations"),
        (put("images", 0, "file_name", value="../../0.jpg"), r"'\.\./\.\./0\.jpg' is no path below its folder"),
        (put("images", 0, "file_name", value="/etc/passwd"), "'/etc/passwd' is no path below its folder"),
        (put("annotations", 0, "file_name", value="/etc/passwd"), "'/etc/passwd' is no path below its folder"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, said: str) -> None:
    write_panoptic(tmp_path, change)
    with pytest.raises(DataError, match=rf"panoptic_val2017\.json: .*{said}|panoptic_val2017\.json: {said}"):
        panoptic_frames(tmp_path, "val2017")


def polygons(low: float = -5, high: float = 35) -> st.SearchStrategy[list[list[float]]]:
    point = st.tuples(st.floats(low, high), st.floats(low, high))
    polygon = st.lists(point, min_size=3, max_size=8).map(lambda points: [c for p in points for c in p])
    return st.lists(polygon, min_size=1, max_size=3)


@given(parts=polygons(), size=SIZES)
@EXAMPLES
def test_polygons_are_rasterised_as_pycocotools_does(parts: list[list[float]], size: tuple[int, int]) -> None:
    expected = pycocotools_mask.decode(pycocotools_mask.merge(pycocotools_mask.frPyObjects(parts, *size)))
    np.testing.assert_array_equal(segmentation_mask(parts, size, "x"), expected)


def test_a_square_has_its_own_area() -> None:
    assert int(segmentation_mask([[10, 10, 30, 10, 30, 30, 10, 30]], (50, 50), "x").sum()) == 400


@given(truth=arrays(np.uint8, SIZES, elements=st.integers(0, 1)))
@EXAMPLES
def test_run_lengths_of_both_forms_give_back_the_mask(truth: np.ndarray) -> None:
    packed = pycocotools_mask.encode(np.asfortranarray(truth))
    flat = truth.ravel(order="F")
    cuts = np.flatnonzero(np.diff(flat, prepend=np.uint8(0))).tolist()
    runs = np.diff([0, *cuts, flat.size]).tolist()
    size = [int(n) for n in truth.shape]
    for counts in (packed["counts"], packed["counts"].decode(), runs):
        found = segmentation_mask({"size": size, "counts": counts}, truth.shape, "x")
        np.testing.assert_array_equal(found, truth)


@given(counts=st.one_of(st.text(max_size=20), st.binary(max_size=20), st.lists(st.integers(-2, 30), max_size=6)))
@EXAMPLES
def test_run_lengths_of_another_image_are_refused_before_pycocotools_reads_them(counts: Any) -> None:
    """Its decoder fills the mask from whatever lies behind it where the runs do not add up."""
    try:
        found = segmentation_mask({"size": [4, 5], "counts": counts}, (4, 5), "object 3")
    except DataError as error:
        message = str(error)
    else:
        assert found.shape == (4, 5)
        assert {*np.unique(found).tolist()} <= {0, 1}
        return
    assert message.startswith("object 3: expected ")


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [["a"] * 6],
        [[float("nan")] * 6],
        None,
        {"size": [9, 9], "counts": [81]},
        [[1e300, 1, -1e300, 3, 4, 5]],
        [[1e9, 1e9, 1e9, 1e9 + 1, 1e9 + 1, 1e9]],
        [[0, 0, 3e6, 0, 0, 1]],
        [[0, 0, 1, 1, 0, 2] * 700_000],
        [[0, 0, 1000, 1000, 0, 2000]] * 1000,
    ],
)
def test_a_malformed_segmentation_is_named(segmentation: Any) -> None:
    with pytest.raises(DataError, match="object 3: expected "):
        segmentation_mask(segmentation, (4, 5), "object 3")


def test_run_lengths_of_an_image_that_none_can_be_are_refused_before_memory_is_taken() -> None:
    size = (1 << 17, 1 << 16)
    with pytest.raises(DataError, match="object 3: expected an image of at most"):
        segmentation_mask({"size": list(size), "counts": [size[0] * size[1]]}, size, "object 3")
