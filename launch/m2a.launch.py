"""Start the m2a node: `ros2 launch m2a_ros m2a.launch.py image_topic:=/camera/image_raw [...]`.

`ros2 launch m2a_ros m2a.launch.py --show-args` lists the arguments. Everything else is in the parameter file.
"""

import os
from pathlib import Path

from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription  # type: ignore[attr-defined]
from m2a_ros.dds import profile_environment

CONFIG = Path(__file__).resolve().parent.parent / "config"


def generate_launch_description() -> LaunchDescription:
    """Describe the node, its arguments and, on request, RViz."""
    camera = LaunchConfiguration("camera")
    image_topic = LaunchConfiguration("image_topic")
    arguments = [
        DeclareLaunchArgument("params_file", default_value=str(CONFIG / "m2a.param.yaml"), description="Parameters."),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "camera", default_value="front", description="Camera of the parameter file whose topics are remapped."
        ),
        DeclareLaunchArgument(
            "image_topic",
            default_value="/camera/image_raw",
            description="The camera's image topic; compressed images are read from the same name + '/compressed'.",
        ),
        DeclareLaunchArgument(
            "camera_info_topic", default_value="/camera/camera_info", description="The camera's calibration."
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="Configure and activate at start; false leaves it to a lifecycle manager.",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=["true", "false"], description="Read the time from /clock."
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            choices=["true", "false"],
            description="Also start RViz with config/m2a.rviz.",
        ),
    ]
    # For the drivers that a file including this one starts too: a publisher's own segment decides what arrives.
    dds = [SetEnvironmentVariable(name, value) for name, value in profile_environment(os.environ).items()]
    node = LifecycleNode(
        package="m2a_ros",
        executable="m2a_node",
        name="m2a",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        remappings=[
            (["~/input/", camera, "/image"], image_topic),
            (["~/input/", camera, "/image/compressed"], [image_topic, "/compressed"]),
            (["~/input/", camera, "/camera_info"], LaunchConfiguration("camera_info_topic")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(CONFIG / "m2a.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*arguments, *dds, node, rviz])
