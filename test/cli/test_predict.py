"""`m2a predict` from image files to result files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.cli.main import main
from m2a_core.cli.predict import find_images
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.reporting.legend import legend_strip
from test.tiny_bundle import RED, class_logits, tiny_colors, write_tiny_bundle

COLORS = tiny_colors()
CONTRACT = {
    "anomaly": "float32",
    "background": "float32",
    "refined": "float32",
    "refined_road": "float32",
    "semantic": "uint8",
    "open_set": "uint8",
    "panoptic": "int32",
    "unknown_instances": "uint16",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


def write_scene(path: Path, height: int = 192, width: int = 320) -> Path:
    """Road with a red box in the middle quarter."""
    image = np.full((height, width, 3), COLORS["road"], np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = RED
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def predict(model: str, out: Path, *arguments: object) -> int:
    return main(["predict", *map(str, arguments), "--model", model, "--out", str(out), "--threads", "1"])


def test_arrays_and_overlay_are_written_at_the_image_s_own_size(model, tmp_path):
    image = write_scene(tmp_path / "in" / "street.png")
    assert predict(model, tmp_path / "out", image) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["street.npz", "street_overlay.jpg"]
    with np.load(tmp_path / "out" / "street.npz") as arrays:
        assert {key: arrays[key].dtype.name for key in arrays} == CONTRACT | {"horizon": "int32"}
        assert {arrays[key].shape for key in CONTRACT} == {(192, 320)}
        x0, y0, x1, y1 = arrays["horizon"]
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 192
        centre, far = (72, 120), (170, 280)
        assert arrays["anomaly"][centre] > 0.98
        assert arrays["anomaly"][far] < 0.01
        assert arrays["open_set"][centre] == CAMVID11.unknown_id
        assert arrays["open_set"][far] == arrays["semantic"][far] == CAMVID11.names.index("road")
        assert arrays["unknown_instances"][centre] == 1
        assert arrays["unknown_instances"][far] == 0
    height, width, _ = cv2.imread(str(tmp_path / "out" / "street_overlay.jpg")).shape
    assert width == 320
    assert height == 192 + legend_strip(CAMVID11, 320).shape[0]


@pytest.mark.parametrize("below", ["", "drive"])
def test_results_beside_the_images_are_no_images_of_the_next_call(model, tmp_path, capsys, below):
    folder = tmp_path / "photos"
    for name in ("a.png", "b.jpg", "b_overlaid.jpg"):
        write_scene(folder / below / name)
    for _ in range(2):
        assert predict(model, folder, folder, "--format", "npz,png") == 0
        said = capsys.readouterr()
        assert f"3 of 3 images written to {folder}" in said.out
    assert f"{folder}: 27 results of m2a predict in it are left out" in said.err
    assert [path.name for path in find_images([str(folder)])] == ["a.png", "b.jpg", "b_overlaid.jpg"]


def test_with_horizon_off_the_image_is_looked_at_once(model, tmp_path):
    image = write_scene(tmp_path / "street.png")
    assert predict(model, tmp_path / "out", image, "--horizon", "off") == 0
    with np.load(tmp_path / "out" / "street.npz") as arrays:
        assert {key: arrays[key].dtype.name for key in arrays} == CONTRACT


def test_raw_adds_the_network_s_own_tensors(model, tmp_path):
    image = write_scene(tmp_path / "street.png")
    assert predict(model, tmp_path / "out", image, "--raw") == 0
    with np.load(tmp_path / "out" / "street.npz") as arrays:
        assert set(arrays) == {*CONTRACT, "horizon", "class_logits", "mask_logits"}
        assert np.array_equal(arrays["class_logits"], class_logits())
        assert arrays["mask_logits"].shape == (12, 24, 32)
        assert arrays["mask_logits"].dtype == np.float32


def test_files_directories_and_patterns_are_taken_together_each_image_once(tmp_path):
    a, b, c = (write_scene(tmp_path / name, 8, 8) for name in ("x/a.png", "x/b.JPG", "y/c.png"))
    (tmp_path / "x" / "notes.txt").write_text("no image")
    found = find_images([str(tmp_path / "x"), str(tmp_path / "*" / "*.png"), str(a)])
    assert found == [a, b, c]
    assert find_images([str(tmp_path / "**" / "c.png")]) == [c]


def test_sequences_below_a_folder_are_found_and_named_by_their_path(model, tmp_path, capsys):
    for name in ("drive1/0001.png", "drive2/0001.png", "drive2/.hidden.png"):
        write_scene(tmp_path / "val" / name)
    for _ in range(2):  # The results of the first call are no images of the second.
        assert predict(model, tmp_path / "val" / "out", tmp_path / "val") == 0
        captured = capsys.readouterr()
        assert "2 of 2 images written" in captured.out
        assert f"note: {tmp_path / 'val'}: 2 images from the folders below it: drive1, drive2\n" in captured.err
    stems = ("drive1_0001", "drive2_0001")
    files = {f"{stem}{ending}" for stem in stems for ending in (".npz", "_overlay.jpg")}
    assert {path.name for path in (tmp_path / "val" / "out").iterdir()} == files
    # Nor are they for other commands.
    assert [path.parent.name for path in find_images([str(tmp_path / "val")])] == ["drive1", "drive2"]
    assert "left out as results of m2a predict: out" in capsys.readouterr().err


def test_images_below_a_folder_with_images_are_left_out_and_noted(tmp_path, capsys):
    image = write_scene(tmp_path / "val" / "a.png", 8, 8)
    write_scene(tmp_path / "val" / "drive" / "b.png", 8, 8)
    assert find_images([str(tmp_path / "val")]) == [image]
    assert "has images itself, so 1 in the folders below it are left out: drive" in capsys.readouterr().err


def test_sequences_whose_results_would_get_one_name_are_refused(tmp_path):
    for name in ("a/b_c.png", "a_b/c.png"):
        write_scene(tmp_path / name, 8, 8)
    with pytest.raises(DataError, match="would both be written as a_b_c.npz"):
        find_images([str(tmp_path)])


def test_links_to_one_image_are_images_of_their_own(tmp_path):
    image = write_scene(tmp_path / "b.png", 8, 8)
    links = [tmp_path / "a.png", tmp_path / "c.png"]
    for link in links:
        link.symlink_to(image)
    assert find_images([str(tmp_path)]) == [links[0], image, links[1]]


def test_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(tmp_path):
    image = write_scene(tmp_path / "a[1].png", 8, 8)
    assert find_images([str(image)]) == [image]


@pytest.mark.parametrize("name", ["nothing.png", "nothing*.png", "empty"])
def test_argument_without_an_image_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no such image"):
        find_images([str(tmp_path / name)])


def test_images_that_would_overwrite_each_other_are_refused_before_any_work(model, tmp_path, capsys):
    first = write_scene(tmp_path / "left" / "0001.png")
    second = write_scene(tmp_path / "right" / "0001.jpg")
    assert predict(model, tmp_path / "out", first, second) == 2
    assert f"{first} and {second} would both be written as 0001.npz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damaged_image_is_named_and_the_others_are_still_written(model, tmp_path, capsys):
    good = write_scene(tmp_path / "good.jpg")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(good.read_bytes()[:-100])
    assert predict(model, tmp_path / "out", bad, good) == 2
    captured = capsys.readouterr()
    assert f"m2a: error: {bad}: the image is cut short" in captured.err
    assert "1 of 2 images written" in captured.out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.npz", "good_overlay.jpg"]


def test_results_of_an_earlier_call_are_replaced(model, tmp_path):
    image = write_scene(tmp_path / "street.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "street.npz").write_bytes(b"old")
    assert predict(model, tmp_path / "out", image) == 0
    assert np.load(tmp_path / "out" / "street.npz")["anomaly"].shape == (192, 320)


def test_out_that_is_a_file_is_refused(model, tmp_path, capsys):
    image = write_scene(tmp_path / "street.png")
    (tmp_path / "out").write_text("a file")
    assert predict(model, tmp_path / "out", image) == 2
    assert "cannot make the directory" in capsys.readouterr().err


def test_unknown_model_and_bad_thread_count_are_refused(model, tmp_path, capsys):
    image = write_scene(tmp_path / "street.png")
    assert predict("no-such-model", tmp_path / "out", image) == 2
    assert "model 'no-such-model'" in capsys.readouterr().err
    assert main(["predict", str(image), "--model", model, "--out", str(tmp_path / "out"), "--threads", "0"]) == 2
    assert "threads: expected at least 1" in capsys.readouterr().err
