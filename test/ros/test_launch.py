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
from types import ModuleType
from typing import Any

import pytest
import yaml
from sensor_msgs.msg import Image

from m2a_ros.dds import PROFILE_VARIABLES
from m2a_ros.parameters import all_parameters
from m2a_ros.resources import shared_file
from test.ros.harness import PATIENCE_S, ROOT, Listener, environment

LAUNCH_FILE = ROOT / "launch" / "m2a.launch.py"
HAS_LAUNCH = find_spec("launch_ros") is not None


class Call:
    """Remembers how it was made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


def recorder(name: str) -> type[Call]:
    return type(name, (Call,), {})


CLASSES = {
    "launch": ["LaunchDescription"],
    "launch.actions": ["DeclareLaunchArgument", "SetEnvironmentVariable"],
    "launch.conditions": ["IfCondition"],
    "launch.substitutions": ["LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode", "Node"],
    "launch_ros.parameter_descriptions": ["ParameterValue"],
}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the launch file describes, as calls."""
    for module_name, classes in CLASSES.items():
        module = ModuleType(module_name)
        for name in classes:
            setattr(module, name, recorder(name))
        monkeypatch.setitem(sys.modules, module_name, module)
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    described: list[Call] = runpy.run_path(str(LAUNCH_FILE))["generate_launch_description"]().args[0]
    return described


def of_kind(entities: list[Call], kind: str) -> list[Call]:
    return [entity for entity in entities if type(entity).__name__ == kind]


def text(value: Any) -> str:
    """A substitution as ``$(name)``."""
    if isinstance(value, Call):
        return f"$({value.args[0]})"
    return "".join(map(text, value)) if isinstance(value, list) else value


def test_every_argument_is_described_and_every_used_one_declared(entities: list[Call]) -> None:
    declared = {call.args[0] for call in of_kind(entities, "DeclareLaunchArgument")}
    assert all(call.kwargs["description"] for call in of_kind(entities, "DeclareLaunchArgument"))
    used = {line.split('LaunchConfiguration("')[1].split('"')[0] for line in LAUNCH_FILE.read_text().splitlines()
            if 'LaunchConfiguration("' in line}  # fmt: skip
    assert used == declared


def test_node_is_the_one_the_package_installs(entities: list[Call]) -> None:
    (node,) = of_kind(entities, "LifecycleNode")
    assert (node.kwargs["package"], node.kwargs["executable"], node.kwargs["name"]) == ("m2a_ros", "m2a_node", "m2a")
    assert text(node.kwargs["namespace"]) == "$(namespace)"
    scripts = (ROOT / "setup.cfg").read_text()
    assert "m2a_node = m2a_ros.node_main:main" in scripts


def test_input_topics_are_remapped(entities: list[Call]) -> None:
    (node,) = of_kind(entities, "LifecycleNode")
    assert {text(source): text(target) for source, target in node.kwargs["remappings"]} == {
        "~/input/$(camera)/image": "$(image_topic)",
        "~/input/$(camera)/image/compressed": "$(image_topic)/compressed",
        "~/input/$(camera)/camera_info": "$(camera_info_topic)",
    }


def test_parameters_are_the_node_s(entities: list[Call]) -> None:
    (node,) = of_kind(entities, "LifecycleNode")
    file, overrides = node.kwargs["parameters"]
    assert text(file) == "$(params_file)"
    known = {spec.name for spec in all_parameters(["front"])} | {"use_sim_time"}
    assert set(overrides) == {"autostart", "use_sim_time"}
    assert set(overrides) <= known
    defaults = {call.args[0]: call.kwargs["default_value"] for call in of_kind(entities, "DeclareLaunchArgument")}
    assert Path(defaults["params_file"]).samefile(shared_file("config/m2a.param.yaml"))


def test_fast_dds_profile_is_set_for_everything_launched(entities: list[Call]) -> None:
    variables = dict(call.args for call in of_kind(entities, "SetEnvironmentVariable"))
    assert set(variables) == set(PROFILE_VARIABLES)
    assert all(Path(path).is_file() for path in variables.values())


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
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m m2a_ros.node_main "$@"\n')
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
    env["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)]).strip(os.pathsep)
    process = subprocess.Popen(
        [sys.executable, "-c", runner, str(LAUNCH_FILE), f"params_file:={tmp_path / 'params.yaml'}",
         "namespace:=car", "image_topic:=/cam/image_raw", "camera_info_topic:=/cam/camera_info"],
        cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield process
    if process.poll() is None:
        process.kill()


@pytest.mark.skipif(not HAS_LAUNCH, reason="needs the packages launch and launch_ros of a ROS distribution")
def test_launched_node_is_active_in_its_namespace_and_ends_cleanly(
    domain: int, launched: subprocess.Popen[str]
) -> None:
    listener = Listener(domain)
    try:
        status = listener.wait_for_status("m2a: camera front", lambda status: True)
        assert status["topic"] == "/cam/image_raw"
        listener.listen("/car/m2a/output/front/open_set_mask", Image)
        listener.wait_for_outputs("/car/m2a/output/front/open_set_mask")
    finally:
        listener.close()
    launched.send_signal(signal.SIGINT)
    output, _ = launched.communicate(timeout=PATIENCE_S)
    assert "process has finished cleanly" in output
