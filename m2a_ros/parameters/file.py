"""Reading the node's parameter file without a node: for launch files, replay and videos."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import ConfigError
from m2a_core.yaml_file import read_yaml
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.old_names import present_names
from m2a_ros.parameters.settings import Settings, check_cameras
from m2a_ros.parameters.spec import ParameterSpec

NODE = "/m2a"
"""Full name of the node without a namespace."""

_LOG = logging.getLogger("m2a.parameters")
_OF_A_CAMERA = ("camera", "mounting")
_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def read_parameters(path: str | Path, node: str = NODE) -> dict[str, Any]:
    """Read what a ROS 2 parameter file says to a node, by the rules of rcl_yaml_param_parser.

    Args:
        path: the file.
        node: full name of the node. Where the file has nothing for it, what it has for a node of this name in another
            namespace counts.

    Returns:
        Values by full name, such as ``camera.front.crop``; of two sections for the node the later one counts.

    Raises:
        ConfigError: the file cannot be read or is not a parameter file.
    """
    try:
        data: Any = read_yaml(Path(path))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"parameter file {path}: cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"parameter file {path}: expected '/**: {{ros__parameters: ...}}', got {data!r:.80}")
    sections = list(_sections(data, ()))
    name = node.rpartition("/")[2]
    fitting = [own for pattern, own in sections if _matches(pattern, node)] or [
        own for pattern, own in sections if pattern[-1:] == (name,)
    ]
    given = {key: value for own in fitting for key, value in _flat(own).items()}
    return present_names(given, lambda text: _LOG.warning("parameter file %s: %s", path, text))


def settings_of(values: Mapping[str, Any], cameras: Sequence[str], source: str) -> Settings:
    """The node's settings for these cameras, with some parameters set.

    Args:
        values: by full name, as of ``read_parameters``; those of other cameras and of ROS itself are left out.
        cameras: names of the cameras.
        source: where the values are from, for messages.

    Raises:
        ConfigError: a parameter is unknown, of another type or out of range, or values do not fit together.
    """
    specs = {spec.name: spec for spec in all_parameters(check_cameras(cameras))}
    chosen = {name: spec.default for name, spec in specs.items()}
    for name, value in values.items():
        if name.partition(".")[0] in _ROS_OWN or _is_of_another(name, cameras):
            continue
        if name not in specs:
            close = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "config/m2a.param.yaml has all parameters"
            raise ConfigError(f"{source}: parameter '{name}' is unknown; {hint}")
        chosen[name] = _checked(specs[name], value, source)
    return Settings.from_values({**chosen, "cameras": list(cameras)})


def of_these_cameras(values: Mapping[str, Any], cameras: Sequence[str]) -> dict[str, Any]:
    """The values without those of other cameras: the node refuses parameters of cameras that it does not have."""
    return {name: value for name, value in values.items() if not _is_of_another(name, cameras)}


def write_parameters(path: Path, values: Mapping[str, Any]) -> None:
    """Write a parameter file for any node; names with dots become nested."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": nested}}), encoding="utf-8")


def _is_of_another(name: str, cameras: Sequence[str]) -> bool:
    head, *rest = name.split(".")
    return head in _OF_A_CAMERA and bool(rest) and rest[0] not in cameras


def _checked(spec: ParameterSpec, value: Any, source: str) -> Any:
    """The value, if it is of the parameter's type and range: as strictly as ROS takes it."""
    fits = type(value) is type(spec.default) and spec.allows(value)
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if not fits:
        raise ConfigError(f"{source}: parameter '{spec.name}' is {value!r:.80}, expected {spec.expected}")
    return value


def _sections(data: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every ``ros__parameters`` with the parts of the name of the node it is for; they may be nested."""
    for key, value in data.items():
        if not isinstance(value, dict):
            continue
        if key == "ros__parameters":
            yield path, value
        else:
            yield from _sections(value, (*path, *(part for part in str(key).split("/") if part)))


def _matches(pattern: tuple[str, ...], node: str) -> bool:
    """Whether a name means a node: ``*`` stands for one part of it, ``**`` for any number of parts."""
    wildcards = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    parts = (wildcards.get(part, f"/{re.escape(part)}") for part in pattern)
    return re.fullmatch("".join(parts), node) is not None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
