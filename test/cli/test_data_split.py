"""``m2a data split``: whole sequences, nothing lost, and what cannot be split so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.cli.main import main
from m2a_core.data.own.frames import OwnFrame, Truth
from m2a_core.data.own.opening import open_own
from m2a_core.data.own.splitting import assign
from m2a_core.files import link_or_copy
from test.data.own_roots import classes, write_own


def frames_of(root: Path) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Name -> split, picture and labels."""
    found = {}
    for frame in open_own(root, "folder").listing.frames:
        image, truth = frame.read()
        found[frame.name] = (frame.split, image, truth.label)
    return found


def unsplit(root: Path, sequences: dict[str, int]) -> Path:
    """A root without splits: images/NAME, masks/NAME."""
    write_own(root, classes(3, first=2, step=300), {"train": sum(sequences.values())})
    names = [f"{name}_{number:03d}" for name, count in sequences.items() for number in range(count)]
    for kind in ("images", "masks"):
        for path, name in zip(sorted((root / kind / "train").iterdir()), names, strict=True):
            path.rename(root / kind / f"{name}{path.suffix}")
        (root / kind / "train").rmdir()
    return root


def test_whole_sequences_go_to_one_split_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = unsplit(tmp_path / "root", {"north": 4, "south": 3, "tunnel": 2}), tmp_path / "out"
    assert main(["data", "check", str(root)]) == 2
    assert "the frames are not split into train and val: `m2a data split` does it" in capsys.readouterr().err
    assert main(["data", "split", str(root), "--val", "0.3", "--out", str(out)]) == 0
    before, after = frames_of(root), frames_of(out)
    assert before.keys() == after.keys()
    for name, (_, image, label) in before.items():
        np.testing.assert_array_equal(after[name][1], image)
        np.testing.assert_array_equal(after[name][2], label)
    split_of: dict[str, set[str]] = {}
    for name, (split, _, _) in after.items():
        split_of.setdefault(name.split("_")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in split_of.values())
    assert {split for splits in split_of.values() for split in splits} == {"train", "val"}
    assert main(["data", "check", str(out)]) == 0
    assert "no problems" in capsys.readouterr().out


def test_a_pattern_says_what_a_sequence_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = unsplit(tmp_path / "root", {"d1_a": 1, "d1_b": 1, "d2_a": 1, "d2_b": 1, "d3_a": 1, "d3_b": 1})
    assert main(["data", "split", str(root), "--out", str(tmp_path / "a")]) == 2
    assert "each of the 6 frames would be a sequence of its own, such as 'd1_a'" in capsys.readouterr().err
    call = ["data", "split", str(root), "--val", "0.3", "--test", "0.3", "--out"]
    assert main([*call, str(tmp_path / "a"), "--sequence", r"^(d\d)_"]) == 0
    assert (
        sorted(split for split, _, _ in frames_of(tmp_path / "a").values())
        == ["test"] * 2 + ["train"] * 2 + ["val"] * 2
    )
    assert main([*call, str(tmp_path / "b"), "--sequence", "^x"]) == 2
    assert "--sequence '^x': does not match the frame 'd1_a_000'" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "b"), "--sequence", "("]) == 2
    assert "not a regular expression" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "b"), "--sequence", "^d"]) == 2
    assert "all 6 frames are of one sequence, 'd'" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "a"), "--sequence", r"^(d\d)_"]) == 2
    assert "is not empty; name a new folder" in capsys.readouterr().err
    assert main(["data", "split", str(root), "--val", "0.6", "--test", "0.4", "--out", str(tmp_path / "b")]) == 2
    assert "expected shares from 0 to 1, in total less than 1" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_frames_of_one_name_in_two_splits_both_stay(tmp_path: Path) -> None:
    root = write_own(tmp_path / "root", classes(2), {"train": 2, "val": 2})
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            for number, path in enumerate(sorted((root / kind / split).iterdir())):
                path.rename(path.parent / f"{'ab'[number]}_{7 * number}{path.suffix}")
    assert main(["data", "split", str(root), "--val", "0.4", "--out", str(tmp_path / "out")]) == 0
    assert sorted(frames_of(tmp_path / "out")) == ["train_a_0", "train_b_7", "val_a_0", "val_b_7"]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "copied"])
def test_frames_whose_folders_and_names_join_to_one_name_both_stay_and_their_sources_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    root = write_own(tmp_path / "root", classes(2), {"train": 4, "val": 2})
    for kind in ("images", "masks"):
        for path, name in zip(
            sorted((root / kind / "train").iterdir()),
            ("cam/front_001", "cam_front/001", "2_cam_front_001", "cam/front_002"),
            strict=True,
        ):
            new = root / kind / "train" / f"{name}{path.suffix}"
            new.parent.mkdir(exist_ok=True)
            path.rename(new)
    if not linked:

        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
    before, frames = contents(root), frames_of(root)
    assert len(frames) == 6
    assert main(["data", "split", str(root), "--val", "0.3", "--out", str(tmp_path / "out")]) == 0
    assert contents(root) == before
    after = frames_of(tmp_path / "out")
    assert sorted(image.tobytes() for _, image, _ in after.values()) == sorted(
        image.tobytes() for _, image, _ in frames.values()
    )


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    link_or_copy(tmp_path / "a", tmp_path / "out")
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "b", tmp_path / "out")
    assert [(tmp_path / name).read_text() for name in ("a", "b", "out")] == ["a", "b", "a"]


def test_a_pattern_whose_group_stands_aside_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = unsplit(tmp_path / "root", {"north": 3, "south": 3})
    command = ["data", "split", str(root), "--out", str(tmp_path / "out"), "--sequence", "^(north)|south"]
    assert main(command) == 2
    assert "first group takes no part in the match of the frame 'south_000'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_a_stopped_split_leaves_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = unsplit(tmp_path / "root", {"north": 3, "south": 3}), tmp_path / "out"
    next((root / "images").glob("south_002.*")).write_bytes(b"damaged")
    assert main(["data", "split", str(root), "--out", str(out)]) == 2
    assert len(list((out / "masks").rglob("*.png"))) == 5
    capsys.readouterr()
    assert main(["data", "check", str(out)]) == 2
    assert f"{out / 'classes.yaml'}" in capsys.readouterr().err


def test_broken_data_are_not_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = unsplit(tmp_path / "root", {"a": 2, "b": 2})
    next((root / "masks").iterdir()).unlink()
    assert main(["data", "split", str(root), "--out", str(tmp_path / "out")]) == 2
    assert "has no mask" in capsys.readouterr().err
    assert cv2.imread(str(root / "images" / "a_001.png")) is not None


@given(
    counts=st.lists(st.integers(1, 50), min_size=3, max_size=12),
    val=st.floats(0.05, 0.5),
    test=st.one_of(st.just(0.0), st.floats(0.05, 0.4)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_every_split_gets_a_sequence(counts: list[int], val: float, test: float, seed: int) -> None:
    frame = OwnFrame("a", "all", "s", Path("a.png"), lambda size: Truth(np.zeros(size, np.uint8)))
    groups = {f"s{i}": [frame] * count for i, count in enumerate(counts)}
    shares = {"val": val, **({"test": test} if test else {})}
    splits = assign(groups, shares, seed)
    assert splits.keys() == groups.keys()
    assert set(splits.values()) == {"train", *shares}
    assert splits == assign(groups, shares, seed)
