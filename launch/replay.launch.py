"""Play a bag through the node: `ros2 launch m2a_ros replay.launch.py bag:=DIR image_topic:=/camera/image_raw [...]`.

For looking at it in real time; frames may be dropped. `m2a replay` evaluates bags frame by frame. Takes the arguments
of m2a.launch.py as well; the time comes from the bag (/clock). Ends with the bag unless it loops.
"""

from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity  # type: ignore[attr-defined]
from m2a_ros.parameters.launch_support import truth

ARGUMENTS: dict[str, dict[str, Any]] = {
    "bag": {"description": "The bag: a folder with metadata.yaml, or an .mcap or .db3 file."},
    "rate": {"default_value": "1.0", "description": "Speed of playing; below 1 where the node cannot keep up."},
    "loop": {"default_value": "false", "description": "true: start over at the end."},
    "delay": {"default_value": "5.0", "description": "Seconds to wait before playing, for the node to load its model."},
}


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments, the node on simulated time, and the player."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).resolve().parent / "m2a.launch.py")),
        launch_arguments=[("use_sim_time", "true")],
    )
    arguments = [DeclareLaunchArgument(name, **options) for name, options in ARGUMENTS.items()]
    return LaunchDescription([*arguments, node, OpaqueFunction(function=launch_player)])


def launch_player(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The player, and the end with it."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    command = ["ros2", "bag", "play", given["bag"], "--clock", "--rate", given["rate"], "--delay", given["delay"]]
    loop = ["--loop"] if truth("loop", given["loop"]) else []
    player = ExecuteProcess(cmd=[*command, *loop], output="screen")
    return [player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=_end))]


def _end(event: Any, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the node with its player, and say which end it was."""
    reason = f"the player failed with exit code {event.returncode}" if event.returncode else "the bag has ended"
    return [EmitEvent(event=Shutdown(reason=reason))]
