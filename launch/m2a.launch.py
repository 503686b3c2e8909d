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
from m2a_ros.parameters.file import read_parameters
from m2a_ros.parameters.launch_support import (
    cameras_from_arguments,
    cameras_from_file,
    cameras_of_parameters,
    check_executable,
    truth,
)
from m2a_ros.process.dds import profile_environment
from m2a_ros.view.rviz import rviz_config

CONFIG = Path(__file__).resolve().parent.parent / "config"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "params_file": {"default_value": str(CONFIG / "m2a.param.yaml"), "description": "Parameter file of the node."},
    "model": {
        "default_value": "",
        "description": "Model bundle: a name under engines/, a directory, or an .onnx file; '': the parameter file's.",
    },
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
        "description": "true: configure and activate at start; false leaves it to a lifecycle manager; '': as the "
        "parameter file says.",
    },
    "use_sim_time": {
        "default_value": "",
        "description": "true: read the time from /clock; false: not; '': as the parameter file says.",
    },
    "log_level": {"default_value": "info", "description": "debug, info, warn, error or fatal."},
    "rviz": {"default_value": "false", "description": "true: also start RViz with a view of the cameras."},
    "rviz_frame": {
        "default_value": "",
        "description": "RViz's fixed frame; '': the base_frame of the parameter file.",
    },
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
    truths = {name: truth(name, given[name]) for name in ("autostart", "use_sim_time") if given[name]}
    with_rviz = truth("rviz", given["rviz"])
    if with_rviz:
        check_executable("rviz2", "rviz2", os.environ.get("AMENT_PREFIX_PATH", ""))
    spaces = (context.launch_configurations.get("ros_namespace", ""), given["namespace"], "m2a")
    name = "/" + "/".join(space.strip("/") for space in spaces if space.strip("/"))
    values = read_parameters(given["params_file"], name)
    if not given["cameras"] and not given["cameras_file"]:
        given["cameras"] = ",".join(cameras_of_parameters(given["params_file"], values))
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
            {"cameras": names, **truths, **({"model": given["model"]} if given["model"] else {})},
        ],
        remappings=[rule for camera in cameras for rule in camera.remappings()],
        arguments=["--ros-args", "--log-level", given["log_level"]],
        output="screen",
    )
    if not with_rviz:
        return [node]
    sim_time = {"use_sim_time": truths.get("use_sim_time", values.get("use_sim_time") is True)}
    with tempfile.NamedTemporaryFile("w", prefix="m2a_", suffix=".rviz", delete=False) as view:
        view.write(rviz_config(name, names, given["rviz_frame"] or values.get("base_frame", "base_link")))
    return [node, Node(package="rviz2", executable="rviz2", arguments=["-d", view.name], parameters=[sim_time])]
