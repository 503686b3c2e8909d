"""Start the m2a node: `ros2 launch m2a_ros m2a.launch.py image_topic:=/camera/image_raw [...]`.

Several cameras: `cameras:=front,left image_topic:=/{camera}/image_raw camera_info_topic:=/{camera}/camera_info`, or
`cameras_file:=cameras.yaml`. `ros2 launch m2a_ros m2a.launch.py --show-args` lists the arguments. Everything else is in
the parameter file.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity  # type: ignore[attr-defined]
from m2a_ros.parameters.launch_support import (
    cameras_from_arguments,
    cameras_from_file,
    cameras_of_parameters,
    rviz_view,
)
from m2a_ros.process.dds import profile_environment

CONFIG = Path(__file__).resolve().parent.parent / "config"
VIEWS = {"m2a.rviz": ("front",), "m2a_four_cameras.rviz": ("front", "left", "right", "rear")}
TRUTH: dict[str, Any] = {"choices": ["true", "false", ""]}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "params_file": {"default_value": str(CONFIG / "m2a.param.yaml"), "description": "Parameters."},
    "namespace": {"default_value": "", "description": "Namespace of the node."},
    "cameras": {
        "default_value": "",
        "description": "Names of the cameras, with commas between them; '': those of the parameter file.",
    },
    "image_topic": {
        "default_value": "/camera/image_raw",
        "description": "The cameras' image topic, {camera} standing for the name; compressed images are read from the "
        "same topic + '/compressed'.",
    },
    "camera_info_topic": {
        "default_value": "/camera/camera_info",
        "description": "The cameras' calibration, {camera} standing for the name.",
    },
    "depth_topic": {
        "default_value": "",
        "description": "Depth images registered to the cameras' images, {camera} standing for the name; '' for none.",
    },
    "cameras_file": {
        "default_value": "",
        "description": "YAML with the topics of every camera, in place of the four arguments before: "
        "cameras: {NAME: {image: TOPIC, camera_info: TOPIC, depth: TOPIC}}.",
    },
    "autostart": {
        "default_value": "",
        "description": "Configure and activate at start; false leaves it to a lifecycle manager; '': as the parameter "
        "file says.",
        **TRUTH,
    },
    "use_sim_time": {
        "default_value": "",
        "description": "Read the time from /clock; '': as the parameter file says.",
        **TRUTH,
    },
    "log_level": {"default_value": "info", "description": "debug, info, warn, error or fatal."},
    "rviz": {
        "default_value": "false",
        "description": "Also start RViz with a view of the cameras.",
        "choices": ["true", "false"],
    },
    "rviz_frame": {"default_value": "base_link", "description": "RViz's fixed frame: the node's base_frame."},
}


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the environment, the node and, on request, RViz."""
    # For the drivers that a file including this one starts too: a publisher's own segment decides what arrives.
    dds = [SetEnvironmentVariable(name, value) for name, value in profile_environment(os.environ).items()]
    arguments = [DeclareLaunchArgument(name, **options) for name, options in ARGUMENTS.items()]
    return LaunchDescription([*arguments, *dds, OpaqueFunction(function=launch_setup)])


def launch_setup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes, once the arguments are known."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    truths = {name: given[name] == "true" for name in ("autostart", "use_sim_time") if given[name]}
    given["cameras"] = given["cameras"] or ",".join(cameras_of_parameters(given["params_file"]))
    topics = ("cameras", "image_topic", "camera_info_topic", "depth_topic")
    cameras = (
        cameras_from_file(given["cameras_file"])
        if given["cameras_file"]
        else cameras_from_arguments(*(given[name] for name in topics))
    )
    names = [camera.camera for camera in cameras]
    node = LifecycleNode(
        package="m2a_ros",
        executable="m2a_node",
        name="m2a",
        namespace=given["namespace"],
        parameters=[
            given["params_file"],
            {"cameras": names, **truths},
        ],
        remappings=[rule for camera in cameras for rule in camera.remappings()],
        arguments=["--ros-args", "--log-level", given["log_level"]],
        output="screen",
    )
    if given["rviz"] == "false":
        return [node]
    sim_time = {"use_sim_time": truths.get("use_sim_time", False)}
    view = "m2a.rviz" if len(names) == 1 else "m2a_four_cameras.rviz"
    template = (CONFIG / view).read_text(encoding="utf-8")
    with tempfile.NamedTemporaryFile("w", prefix="m2a_", suffix=".rviz", delete=False) as file:
        file.write(rviz_view(template, VIEWS[view], names, given["namespace"], given["rviz_frame"]))
    return [node, Node(package="rviz2", executable="rviz2", arguments=["-d", file.name], parameters=[sim_time])]
