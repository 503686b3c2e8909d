"""What the launch files compute: truth values and topics of the cameras. Plain Python, without the launch packages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import ConfigError
from m2a_core.yaml_file import read_yaml
from m2a_ros.parameters.settings import check_cameras

PLACEHOLDER = "{camera}"
"""Stands for a camera's name in topic arguments."""

_FILE_KEYS = ("image", "camera_info", "depth")


@dataclass(frozen=True)
class CameraTopics:
    """Where one camera publishes; an empty topic is not remapped.

    Attributes:
        camera: name of the camera.
        image: image topic; compressed images are read from the same name + ``/compressed``.
        camera_info: calibration topic.
        depth: topic of depth images.
    """

    camera: str
    image: str
    camera_info: str = ""
    depth: str = ""

    def remappings(self) -> list[tuple[str, str]]:
        """Rules for the node, from its own topic to the camera's."""
        pairs = {
            "image": self.image,
            "image/compressed": self.image and f"{self.image}/compressed",
            "camera_info": self.camera_info,
            "depth": self.depth,
        }
        return [(f"~/input/{self.camera}/{own}", topic) for own, topic in pairs.items() if topic]


def cameras_from_arguments(cameras: str, image: str, camera_info: str, depth: str) -> list[CameraTopics]:
    """Read the launch arguments.

    Args:
        cameras: names with commas between them.
        image: image topic, with ``{camera}`` in the place of the name.
        camera_info: calibration topic, the same way.
        depth: depth topic, the same way; may be empty.

    Raises:
        ConfigError: a name cannot be a camera's, or several cameras share a topic.
    """
    names = check_cameras(name.strip() for name in cameras.split(","))
    for topic in (image, camera_info, depth):
        if len(names) > 1 and topic and PLACEHOLDER not in topic:
            raise ConfigError(
                f"cameras {list(names)} cannot share the topic '{topic}': write {PLACEHOLDER} where the name belongs, "
                "or give a cameras_file"
            )
    return [
        CameraTopics(name, *(topic.replace(PLACEHOLDER, name) for topic in (image, camera_info, depth)))
        for name in names
    ]


def cameras_of_parameters(path: str | Path, values: Mapping[str, Any]) -> list[str]:
    """The cameras that a parameter file lists for the node, or the node's own default.

    Args:
        path: the file, for messages.
        values: what it says to the node.

    Raises:
        ConfigError: its list of cameras is wrong.
    """
    names = values.get("cameras", ["front"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"parameter file {path}: 'cameras' is {names!r:.200}, expected a list of names such as [front, rear]"
        )
    return list(check_cameras(names))


def cameras_from_file(path: str | Path) -> list[CameraTopics]:
    """Read a YAML file: ``cameras: {NAME: {image: TOPIC, camera_info: TOPIC, depth: TOPIC}}``; ``image`` is needed.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        data: Any = read_yaml(Path(path))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cameras_file {path}: cannot be read ({error})") from error
    listed = data.get("cameras") if isinstance(data, Mapping) and set(data) == {"cameras"} else None
    if not isinstance(listed, Mapping) or not listed:
        raise ConfigError(f"cameras_file {path}: expected 'cameras: {{NAME: {{image: TOPIC}}}}', got {data!r:.80}")
    check_cameras(str(name) for name in listed)
    found = []
    for name, topics in listed.items():
        fits = isinstance(topics, Mapping) and "image" in topics and set(topics) <= set(_FILE_KEYS)
        if not fits or not all(isinstance(topic, str) and topic for topic in topics.values()):
            raise ConfigError(
                f"cameras_file {path}: camera '{name}' has {topics!r:.80}, expected topics by {', '.join(_FILE_KEYS)}, "
                "'image' at least"
            )
        found.append(CameraTopics(str(name), **topics))
    return found


def truth(argument: str, text: str) -> bool:
    """A launch argument that is true or false, in the forms that launch's own conditions take.

    Raises:
        ConfigError: it is neither.
    """
    word = text.strip().lower()
    if word not in ("true", "1", "false", "0"):
        raise ConfigError(f"launch argument '{argument}' is '{text}', expected true or false")
    return word in ("true", "1")


def check_executable(package: str, executable: str, prefixes: str) -> None:
    """Make sure that a program can be started, before anything else is: launch would leave the rest running.

    Args:
        package: its ROS package.
        executable: its name.
        prefixes: ``AMENT_PREFIX_PATH``.

    Raises:
        ConfigError: it is not installed.
    """
    places = [Path(prefix) / "lib" / package / executable for prefix in prefixes.split(os.pathsep) if prefix]
    if not any(os.access(place, os.X_OK) for place in places):
        raise ConfigError(
            f"'{package}' is not installed: sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}, or start "
            "without it"
        )
