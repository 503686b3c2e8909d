"""What ``m2a view --bag`` shows of the folder that a replay wrote."""

from __future__ import annotations

import pytest

from m2a_core.errors import DataError
from m2a_ros.main import main
from m2a_ros.view.from_bag import bags_of
from test.replay.bags import drive
from test.replay.conftest import replay  # noqa: F401


def test_the_folder_of_a_replay_stands_for_its_output_bags(replay, tmp_path):  # noqa: F811
    bags = [drive(tmp_path / name, 1) for name in ("one", "two")]
    done = replay(*bags)
    assert bags_of(done.out) == [done.out / "one" / "bag", done.out / "two" / "bag"]
    assert bags_of(bags[0]) == [bags[0]]


def test_a_bag_that_is_not_there_is_refused_before_a_window_opens_or_a_file_is_written(tmp_path, capsys):
    pytest.importorskip("rerun")
    saved = tmp_path / "drive.rrd"
    assert main(["view", "--bag", str(tmp_path / "drive"), "--save", str(saved)]) == 2
    assert str(tmp_path / "drive") in capsys.readouterr().err
    assert not saved.exists()


def test_a_replay_that_kept_no_bag_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="without output bags"):
        bags_of(tmp_path)
