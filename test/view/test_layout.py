"""RViz and Foxglove layouts, shipped and written for other cameras."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from m2a_ros.main import main
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.outputs.publishers import TIMING_TOPICS
from m2a_ros.process.shared_files import shared_file

FOUR = ["front", "left", "right", "rear"]
SHIPPED = [("m2a.rviz", ["front"]), ("m2a_four_cameras.rviz", FOUR), ("m2a.foxglove.json", ["front"])]


def written(program: str, cameras: list[str], path: Path, *more: str) -> str:
    assert main(["layout", program, "--cameras", ",".join(cameras), "--out", str(path), *more]) == 0
    return path.read_text(encoding="utf-8")


def published(node: str, cameras: list[str]) -> set[str]:
    outputs = (*(spec.topic for spec in MAPS), "unknown_markers")
    debug = ("overlay", "overlay/compressed", "anomaly_color", *TIMING_TOPICS)
    return {
        f"{node}/{side}/{c}/{name}"
        for c in cameras
        for side, names in (("output", outputs), ("debug", debug))
        for name in names
    }


@pytest.mark.parametrize(("name", "cameras"), SHIPPED)
def test_shipped_layouts_are_what_the_command_writes(name: str, cameras: list[str], tmp_path: Path) -> None:
    program = "rviz" if name.endswith("rviz") else "foxglove"
    assert shared_file(f"config/{name}").read_text(encoding="utf-8") == written(program, cameras, tmp_path / "file")


@pytest.mark.parametrize("cameras", [["front"], ["left", "right"], [f"camera_{i}" for i in range(7)]], ids=len)
def test_rviz_shows_every_camera_under_its_name_and_nothing_that_is_not_published(
    cameras: list[str], tmp_path: Path
) -> None:
    content: dict[str, Any] = yaml.safe_load(written("rviz", cameras, tmp_path / "f", "--node", "car/perception"))
    displays = content["Visualization Manager"]["Displays"]
    shown = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    node = "/car/perception"
    wanted = [
        f"{node}/{rest}"
        for c in cameras
        for rest in (f"debug/{c}/overlay", f"output/{c}/anomaly_map", f"output/{c}/unknown_markers")
    ]
    assert shown == set(wanted)
    assert shown <= published(node, cameras)
    assert all(display["Enabled"] for display in displays)
    assert all(any(camera in d["Name"] for camera in cameras) for d in displays if "Topic" in d)
    assert len({display["Name"] for display in displays}) == len(displays)


def test_rviz_reads_whether_docks_are_hidden_from_the_file(tmp_path: Path) -> None:
    window = yaml.safe_load(written("rviz", FOUR, tmp_path / "file"))["Window Geometry"]
    assert (window["Hide Left Dock"], window["Hide Right Dock"]) == (False, False)
    assert {f"{camera}: {what}" for camera in FOUR for what in ("overlay", "anomaly map")} <= window.keys()


@pytest.mark.parametrize("cameras", [["front"], ["left", "right"], [f"camera_{i}" for i in range(7)]], ids=len)
def test_foxglove_shows_every_camera_and_each_panel_once(cameras: list[str], tmp_path: Path) -> None:
    layout = json.loads(written("foxglove", cameras, tmp_path / "f", "--node", "/car/m2a", "--frame", "ground"))
    text = json.dumps(layout["configById"])
    topics = set(re.findall(r"/car/m2a/[\w/]+", text))
    assert topics <= published("/car/m2a", cameras)
    for camera in cameras:
        assert {
            f"/car/m2a/debug/{camera}/overlay/compressed",
            f"/car/m2a/debug/{camera}/anomaly_color",
            f"/car/m2a/output/{camera}/unknown_markers",
        } <= topics
    panels = re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"]))
    assert sorted(panels) == sorted(layout["configById"])
    assert layout["configById"]["3D!world"]["followTf"] == "ground"


def test_names_that_no_camera_can_have_and_files_that_cannot_be_written_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for cameras, out, word in (("front,2nd", tmp_path / "a", "2nd"), ("front", tmp_path / "no" / "a", "--out")):
        assert main(["layout", "rviz", "--cameras", cameras, "--out", str(out)]) != 0
        assert word in capsys.readouterr().err
