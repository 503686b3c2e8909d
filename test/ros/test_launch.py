"""The launch file.

`launch` is not on PyPI. Where it and `launch_ros` are installed (any ROS distribution), the node really is launched;
elsewhere the description is built against recorders of the calls, which proves names and arguments, not launch itself.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.context import Context
from sensor_msgs.msg import Image

from m2a_core.errors import ConfigError
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.file import read_parameters
from m2a_ros.parameters.launch_support import cameras_from_arguments, cameras_from_file, cameras_of_parameters
from m2a_ros.process.dds import PROFILE_VARIABLES, profile_variables
from m2a_ros.process.shared_files import shared_file
from test.ros.harness import PATIENCE_S, ROOT, Listener, environment

LAUNCH_FILE = ROOT / "launch" / "m2a.launch.py"
REPLAY_FILE = ROOT / "launch" / "replay.launch.py"
HAS_LAUNCH = find_spec("launch_ros") is not None


class Call:
    """Remembers how it was made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


def recorder(name: str) -> type[Call]:
    return type(name, (Call,), {})


CLASSES = {
    "launch": ["LaunchContext", "LaunchDescription", "LaunchDescriptionEntity"],
    "launch.actions": [
        "DeclareLaunchArgument",
        "EmitEvent",
        "ExecuteProcess",
        "IncludeLaunchDescription",
        "OpaqueFunction",
        "RegisterEventHandler",
        "SetEnvironmentVariable",
    ],
    "launch.event_handlers": ["OnProcessExit"],
    "launch.events": ["Shutdown"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode", "Node"],
}


class Described:
    """A launch file built against recorders."""

    def __init__(self, file: Path) -> None:
        self.entities: list[Call] = runpy.run_path(str(file))["generate_launch_description"]().args[0]

    def of_kind(self, kind: str) -> list[Call]:
        return [entity for entity in self.entities if type(entity).__name__ == kind]

    def processes(self, **given: str) -> list[Call]:
        """What the file starts with these arguments."""
        declared = {call.args[0]: call.kwargs.get("default_value") for call in self.of_kind("DeclareLaunchArgument")}
        assert set(given) <= set(declared)
        (function,) = self.of_kind("OpaqueFunction")
        made: list[Call] = function.kwargs["function"](SimpleNamespace(launch_configurations={**declared, **given}))
        return made


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> None:
    for module_name, classes in CLASSES.items():
        module = ModuleType(module_name)
        for name in classes:
            setattr(module, name, recorder(name))
        monkeypatch.setitem(sys.modules, module_name, module)
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def node_file(recorders: None) -> Described:
    return Described(LAUNCH_FILE)


@pytest.mark.parametrize("file", [LAUNCH_FILE, REPLAY_FILE], ids=lambda file: file.name)
def test_every_argument_is_described(recorders: None, file: Path) -> None:
    declared = Described(file).of_kind("DeclareLaunchArgument")
    assert declared
    assert all(call.kwargs["description"] for call in declared)


def test_node_is_the_one_the_package_installs(node_file: Described) -> None:
    (node,) = node_file.processes(namespace="car")
    assert (node.kwargs["package"], node.kwargs["executable"], node.kwargs["name"]) == ("m2a_ros", "m2a_node", "m2a")
    assert node.kwargs["namespace"] == "car"
    scripts = (ROOT / "setup.cfg").read_text()
    assert "m2a_node = m2a_ros.node.main:main" in scripts


def test_one_camera_s_topics_are_remapped(node_file: Described) -> None:
    (node,) = node_file.processes(image_topic="/cam/image", camera_info_topic="/cam/info")
    assert dict(node.kwargs["remappings"]) == {
        "~/input/front/image": "/cam/image",
        "~/input/front/image/compressed": "/cam/image/compressed",
        "~/input/front/camera_info": "/cam/info",
    }


def test_several_cameras_come_from_arguments(node_file: Described) -> None:
    (node,) = node_file.processes(
        cameras="front, rear",
        image_topic="/{camera}/image",
        camera_info_topic="/{camera}/info",
        depth_topic="/{camera}/depth",
    )
    assert node.kwargs["parameters"][1]["cameras"] == ["front", "rear"]
    rules = dict(node.kwargs["remappings"])
    assert len(rules) == 8
    assert rules["~/input/rear/image"] == "/rear/image"
    assert rules["~/input/front/depth"] == "/front/depth"


def test_several_cameras_come_from_a_file(node_file: Described, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: {left: {image: /l/image, camera_info: /l/info}, right: {image: /r/rgb}}")
    (node,) = node_file.processes(cameras_file=str(file), image_topic="/ignored")
    assert node.kwargs["parameters"][1]["cameras"] == ["left", "right"]
    assert dict(node.kwargs["remappings"]) == {
        "~/input/left/image": "/l/image",
        "~/input/left/image/compressed": "/l/image/compressed",
        "~/input/left/camera_info": "/l/info",
        "~/input/right/image": "/r/rgb",
        "~/input/right/image/compressed": "/r/rgb/compressed",
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "expected 'cameras"),
        ("cameras: []", "expected 'cameras"),
        ("cameras: {}", "expected 'cameras"),
        ("cameras: {front: /image}", "camera 'front'"),
        ("cameras: {front: {camera_info: /info}}", "'image' at least"),
        ("cameras: {front: {image: /image, lidar: /points}}", "lidar"),
        ("cameras: {front: {image: ''}}", "camera 'front'"),
        ("cameras: {2nd: {image: /image}}", "2nd"),
        ("cameras: {front: {image: /image}}\nmore: 1", "more"),
        ("cameras: [", "cannot be read"),
    ],
)
def test_a_camera_file_that_says_something_else_is_refused(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named):
        cameras_from_file(file)


def test_cameras_cannot_share_a_topic_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="{camera}"):
        cameras_from_arguments("front,rear", "/image_raw", "/{camera}/info", "")
    with pytest.raises(ConfigError, match=r"no\.yaml"):
        cameras_from_file(tmp_path / "no.yaml")


def test_parameters_are_the_node_s(node_file: Described) -> None:
    (node,) = node_file.processes(autostart="false", use_sim_time="true")
    file, overrides = node.kwargs["parameters"]
    assert Path(file).samefile(shared_file("config/m2a.param.yaml"))
    assert overrides == {"cameras": ["front"], "autostart": False, "use_sim_time": True}
    assert set(overrides) <= {spec.name for spec in all_parameters(["front"])} | {"use_sim_time"}


def test_a_model_that_is_given_comes_before_the_parameter_file_s(node_file: Described, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters: {model: old}\n")
    (node,) = node_file.processes(params_file=str(file), model="engines/own")
    assert node.kwargs["parameters"] == [str(file), {"cameras": ["front"], "model": "engines/own"}]


def test_what_the_launch_was_not_told_is_left_to_the_parameter_file(node_file: Described, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("car:\n  m2a:\n    ros__parameters: {cameras: [left, right], autostart: false}\n")
    (node,) = node_file.processes(
        params_file=str(file), image_topic="/{camera}/image", camera_info_topic="/{camera}/info"
    )
    assert node.kwargs["parameters"] == [str(file), {"cameras": ["left", "right"]}]
    assert ("~/input/right/image", "/right/image") in node.kwargs["remappings"]


def cameras_of(text: str, path: Path, node: str = "/m2a") -> list[str]:
    path.write_text(text)
    return cameras_of_parameters(path, read_parameters(path, node))


PARAMETER_FILES = {
    "none": "/**: {ros__parameters: {autostart: false}}",
    "another node's": "m2a: {ros__parameters: {cameras: [a, b]}}\nlidar: {ros__parameters: {cameras: [up, down]}}",
    "another node's before": "lidar: {ros__parameters: {cameras: [up, down]}}\n/**: {ros__parameters: {cameras: [a]}}",
    "another node's alone": "/perception/lidar: {ros__parameters: {cameras: [up, down]}}",
    "two vehicles": "/car1/m2a: {ros__parameters: {cameras: [a]}}\n/car2/m2a: {ros__parameters: {cameras: [b]}}",
    "nested": "car2: {m2a: {ros__parameters: {cameras: [nested]}}, lidar: {ros__parameters: {cameras: [up]}}}",
    "of any namespace": "/**/m2a: {ros__parameters: {cameras: [w]}}",
    "of one level": "/*/m2a: {ros__parameters: {cameras: [one]}}\n/**: {ros__parameters: {autostart: true}}",
    "later of two": "/car2/m2a: {ros__parameters: {cameras: [b]}}\n/**: {ros__parameters: {cameras: [last]}}",
}


@pytest.mark.parametrize("text", PARAMETER_FILES.values(), ids=PARAMETER_FILES.keys())
@pytest.mark.parametrize("namespace", ["", "/car2", "/fleet/car2"])
def test_cameras_are_those_that_the_node_itself_reads_from_the_file(
    text: str, namespace: str, tmp_path: Path, domain: int
) -> None:
    found = cameras_of(text, tmp_path / "mine.yaml", f"{namespace}/m2a")
    context = Context()
    rclpy.init(
        args=["x", "--ros-args", "--params-file", str(tmp_path / "mine.yaml")], context=context, domain_id=domain
    )
    node = rclpy.create_node(
        "m2a", namespace=namespace, context=context, automatically_declare_parameters_from_overrides=True
    )
    plain = rclpy.create_node("another", context=context)
    given = node.get_parameters_by_prefix("")
    for own in plain.get_parameters_by_prefix(""):
        del given[own]
    node.destroy_node()
    plain.destroy_node()
    rclpy.try_shutdown(context=context)
    if given or "m2a" not in text:
        assert found == (list(given["cameras"].value) if "cameras" in given else ["front"])


def test_a_file_for_the_node_in_another_namespace_counts_where_none_is_for_its_own(tmp_path: Path) -> None:
    assert cameras_of(PARAMETER_FILES["nested"], tmp_path / "mine.yaml") == ["nested"]


@pytest.mark.parametrize("value", ["[2nd]", "[1, 2]", "front", "3", "[]", "[front, front]", "[[a]]"])
def test_a_list_of_cameras_that_is_none_is_refused_by_file_and_value(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'cameras' is"):
        cameras_of(f"/**: {{ros__parameters: {{cameras: {value}}}}}", tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", ["m2a:", "m2a: {ros__parameters: }", "m2a: {ros__parameters: [1]}"])
def test_a_parameter_file_that_says_nothing_leaves_the_defaults(text: str, tmp_path: Path) -> None:
    assert cameras_of(text, tmp_path / "mine.yaml") == ["front"]


def test_a_parameter_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml"):
        read_parameters(tmp_path / "no.yaml")


@pytest.mark.parametrize(("text", "value"), [("True", True), ("False", False), ("1", True), ("0", False)])
def test_truth_is_taken_in_every_form_that_launch_takes(node_file: Described, text: str, value: bool) -> None:
    (node,) = node_file.processes(autostart=text, use_sim_time=text, rviz="False")
    assert node.kwargs["parameters"][1] == {"cameras": ["front"], "autostart": value, "use_sim_time": value}
    with pytest.raises(ConfigError, match="'autostart' is 'maybe'"):
        node_file.processes(autostart="maybe")


def test_without_rviz_nothing_is_started(node_file: Described, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="'rviz2' is not installed: sudo apt install"):
        node_file.processes(rviz="true")


def test_fast_dds_profile_is_set_for_everything_launched(node_file: Described) -> None:
    variables = dict(call.args for call in node_file.of_kind("SetEnvironmentVariable"))
    assert set(variables) == set(profile_variables())
    assert all(Path(path).is_file() for path in variables.values())


@pytest.mark.parametrize("cameras", ["eye", "a,b,c"])
def test_rviz_shows_the_cameras_that_were_asked_for(
    node_file: Described, cameras: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "lib/rviz2/rviz2"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{tmp_path}")
    _, rviz = node_file.processes(
        cameras=cameras,
        image_topic="/{camera}/image",
        camera_info_topic="/{camera}/info",
        namespace="car",
        rviz="true",
        rviz_frame="ground",
        use_sim_time="true",
    )
    assert rviz.kwargs["package"] == "rviz2"
    assert rviz.kwargs["parameters"] == [{"use_sim_time": True}]
    file = Path(rviz.kwargs["arguments"][1])
    content = yaml.safe_load(file.read_text())
    file.unlink()
    manager = content["Visualization Manager"]
    topics = {display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display}
    for camera in cameras.split(","):
        assert {f"/car/m2a/debug/{camera}/overlay", f"/car/m2a/output/{camera}/unknown_markers"} <= topics
    assert not any("/front/" in topic for topic in topics)
    assert manager["Global Options"]["Fixed Frame"] == "ground"


def test_replay_plays_the_bag_with_its_clock_and_ends_with_it(recorders: None) -> None:
    file = Described(REPLAY_FILE)
    (node,) = file.of_kind("IncludeLaunchDescription")
    assert Path(node.args[0].args[0]) == LAUNCH_FILE
    assert node.kwargs["launch_arguments"] == [("use_sim_time", "true")]
    player, ending = file.processes(bag="/bags/one", rate="0.5", loop="true")
    assert player.kwargs["cmd"] == [
        "ros2",
        "bag",
        "play",
        "/bags/one",
        "--clock",
        "--rate",
        "0.5",
        "--delay",
        "5.0",
        "--loop",
    ]
    handler = ending.args[0].kwargs
    assert handler["target_action"] is player
    for code, reason in ((0, "the bag has ended"), (2, "the player failed with exit code 2")):
        (end,) = handler["on_exit"](SimpleNamespace(returncode=code), None)
        assert end.kwargs["event"].kwargs["reason"] == reason


@pytest.fixture
def launched(domain: int, tmp_path: Path, tiny: Path) -> Iterator[subprocess.Popen[str]]:
    params = yaml.safe_load(shared_file("config/m2a.param.yaml").read_text())
    params["/**"]["ros__parameters"]["model"] = str(tiny)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    prefix = tmp_path / "prefix"
    (prefix / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (prefix / "share/ament_index/resource_index/packages/m2a_ros").touch()
    script = prefix / "lib/m2a_ros/m2a_node"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m m2a_ros.node.main "$@"\n')
    script.chmod(0o755)
    runner = (
        "import sys; from launch import LaunchService, LaunchDescription; "
        "from launch.actions import IncludeLaunchDescription; "
        "from launch.launch_description_sources import PythonLaunchDescriptionSource as Source; "
        "service = LaunchService(); "
        "service.include_launch_description(LaunchDescription([IncludeLaunchDescription(Source(sys.argv[1]), "
        "launch_arguments=[a.split(':=') for a in sys.argv[2:]])])); sys.exit(service.run())"
    )
    env = environment(domain)
    for name in PROFILE_VARIABLES:
        del env[name]
    env["AMENT_PREFIX_PATH"] = f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', sys.prefix)}"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            runner,
            str(LAUNCH_FILE),
            f"params_file:={tmp_path / 'params.yaml'}",
            "namespace:=car",
            "image_topic:=/cam/image_raw",
            "camera_info_topic:=/cam/camera_info",
        ],
        cwd=tmp_path,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    yield process
    if process.poll() is None:
        process.kill()


@pytest.mark.skipif(not HAS_LAUNCH, reason="needs the packages launch and launch_ros of a ROS distribution")
def test_launched_node_is_active_in_its_namespace_and_ends_cleanly(
    domain: int, launched: subprocess.Popen[str]
) -> None:
    listener = Listener(domain)
    try:
        status = listener.wait_for_status("car/m2a: camera front", lambda status: True)
        assert status["topic"] == "/cam/image_raw"
        listener.listen("/car/m2a/output/front/open_set_mask", Image)
        listener.wait_for_outputs("/car/m2a/output/front/open_set_mask")
    finally:
        listener.close()
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=PATIENCE_S)
    assert "process has finished cleanly" in output
