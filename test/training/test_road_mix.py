"""Several road data sets with one label set: what CamVid's classes become, and how often frames come."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from m2a_core.cli.main import main
from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.training import check
from m2a_core.training.batches import Batches
from m2a_core.training.config import DataConfig, StageConfig
from m2a_core.training.road_mix import camvid_table, held_frames, mixed_sources
from m2a_core.training.sources import open_sources
from m2a_core.training.targets import CLASS_SETS, IGNORE, SURE_CLASS_SETS
from test.training.dataset_trees import write_packed_cityscapes
from test.training.synthetic import write_camvid
from test.training.test_idd_lite import marked, write_frame


@pytest.fixture
def root(tmp_path):
    write_packed_cityscapes(tmp_path / "cityscapes_640", {"train": 3, "val": 2})
    write_camvid(tmp_path / "camvid", {("train", "A"): 4, ("val", "C"): 2})
    for drive in "1234":
        write_frame(tmp_path / "idd_lite", f"{drive}_1", marked(1) if drive < "3" else None)
    return tmp_path


def data(**mix: float) -> DataConfig:
    return DataConfig(dataset="roads", mix=mix, held_apart=0.25)


def test_a_share_is_how_often_each_frame_comes(root):
    names = [s.name for s in mixed_sources(root, data(camvid=1), {"cityscapes_640": 2, "camvid": 1, "idd_lite": 0.5})]
    assert [names.count(f"aachen_{i}") for i in range(3)] == [2, 2, 2]
    assert sum(name.startswith("A_") for name in names) == 3  # the fourth of them is held apart
    assert [name for name in names if name.endswith("_1") and name[0].isdigit()] == ["2_1", "4_1"]
    assert [s.name for s in mixed_sources(root, data(camvid=1), {"idd_obstacles": 3})] == ["2_1"] * 3
    assert [s.name for s in held_frames(root)] == ["aachen_0", "aachen_1"]


def test_the_check_reads_the_frames_of_stages_with_a_mix_of_their_own(root, tmp_path, monkeypatch, capsys):
    stage = {"iterations": 1, "batch_size": 2, "loss": {"num_points": 16}}
    content = {
        "name": "mixed",
        "model": "m2a-edge",
        "data": {
            "dataset": "roads",
            "mix": {"cityscapes_640": 1, "idd_lite": 0.5},
            "outliers": {"source": "none"},
            "augment": {"crop": [64, 96], "rare_crop": 0.0, "scale": [1.0, 1.0], "color": 0.0, "degrade": 0.0},
        },
        "stages": [
            {"name": "base", **stage},
            # Drawn for the picture: it pastes most.
            {"name": "idd", "mix": {"idd_lite": 1, "idd_obstacles": 2}, "known_paste_prob": 0.01, **stage},
        ],
    }
    config = tmp_path / "mixed.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = ["train", "--check", "--config", str(config), "--data-root", str(root), "--out", str(tmp_path / "out")]
    drawn: list[Batches] = []
    monkeypatch.setattr(check, "write_contact_sheet", lambda batches, *_: drawn.append(batches))
    assert main(command) == 0
    # Of the four drives one is held apart for its obstacle, and the base's half is one of the three that are left.
    names = {source.name for source in mixed_sources(root, data(idd_lite=0.5), {"idd_lite": 0.5})}
    others = {source.name for source in mixed_sources(root, data(idd_lite=1), {"idd_lite": 1})} - names
    assert f"train, of stages alone: {len(others)} of {len(others)} frames can be read" in capsys.readouterr().out
    assert {frame.name for frame in drawn[0].own_frames[1]} == names | others
    (root / "idd_lite" / "labels" / "train" / f"{min(others)}.png").write_bytes(b"damaged")
    assert main(command) == 2
    captured = capsys.readouterr()
    assert f"{min(others)}.png" in captured.out
    assert "1 frames are broken" in captured.err


def test_camvid_classes_become_a_class_or_a_sure_set_of_the_nineteen(root):
    expected = {
        "sky": {"sky"},
        "building": {"building", "wall"},
        "pole": {"pole"},
        "road": {"road"},
        "pavement": {"sidewalk"},
        "tree": {"vegetation", "terrain"},
        "signsymbol": {"traffic light", "traffic sign"},
        "fence": {"fence"},
        "car": {"car", "truck", "bus"},
        "pedestrian": {"person"},
        "bicyclist": {"rider", "bicycle", "motorcycle"},
    }
    table = camvid_table()
    for i, name in enumerate(CAMVID11.names):
        value = int(table[i])
        if value in CLASS_SETS:
            assert value in SURE_CLASS_SETS
        assert {CITYSCAPES19.names[c] for c in CLASS_SETS.get(value, (value,))} == expected[name]
    assert (table[CAMVID11.num_classes :] == IGNORE).all()
    (frame,) = [s.read() for s in mixed_sources(root, data(camvid=1), {"camvid": 0.25})]
    assert frame.partial
    assert set(np.unique(frame.label)) == {int(table[i]) for i in (0, 1, 3, 8, IGNORE)}


def test_a_stage_may_have_a_mix_of_its_own(root):
    sources = open_sources(data(cityscapes_640=1), root, CITYSCAPES19, {1: {"camvid": 1}})
    assert [s.name for s in sources.train] == ["aachen_0", "aachen_1", "aachen_2"]
    assert [s.name[0] for s in sources.own[1]] == ["A"] * 3
    assert len(sources.held) == 2


def test_a_missing_set_is_named(root):
    (root / "camvid" / "frames.csv").unlink()
    with pytest.raises(DataError, match="camvid"):
        mixed_sources(root, data(camvid=1), {"camvid": 1})


@pytest.mark.parametrize("mix", [{}, {"kitti": 1.0}, {"camvid": 0.0}, {"camvid": -1.0}])
def test_a_mix_that_makes_no_sense_is_refused(mix):
    with pytest.raises(ConfigError, match="mix"):
        DataConfig(dataset="roads", mix=mix)
    with pytest.raises(ConfigError, match="mix"):
        StageConfig("s", iterations=1, mix=mix or {"x": 1.0})


def test_a_mix_needs_the_data_set_of_roads():
    with pytest.raises(ConfigError, match="mix"):
        DataConfig(dataset="camvid", mix={"camvid": 1.0})
