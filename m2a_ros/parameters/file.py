"""Reading the node's parameter file without a node: for launch files, replay and videos."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import ConfigError
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.settings import Settings, check_cameras
from m2a_ros.parameters.spec import ParameterSpec

NODE_NAME = "m2a"
_WILDCARDS = ("*", "**")
_OF_A_CAMERA = ("camera", "mounting")
_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def read_parameters(path: str | Path, node: str = NODE_NAME) -> dict[str, Any]:
    """Read what a ROS 2 parameter file says to a node: ``NODE: {ros__parameters: ...}``, in any namespace, or ``/**``.

    Args:
        path: the file.
        node: name of the node, without namespace.

    Returns:
        Values by full name, such as ``camera.front.crop``; the node's own come over those of ``/**``.

    Raises:
        ConfigError: the file cannot be read or is no parameter file.
    """
    try:
        data: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"parameter file {path}: cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"parameter file {path}: expected '/**: {{ros__parameters: ...}}', got {data!r:.80}")
    found = sorted(_sections(data, ()), key=lambda section: section[0] != _WILDCARDS[1])
    values: dict[str, Any] = {}
    for name, section in found:
        if name in (node, *_WILDCARDS):
            values.update(_flat(section))
    return values


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
            hint = f"did you mean '{close[0]}'?" if close else "see docs/node.md for all parameters"
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
    fits = type(value) is type(spec.default) and (not spec.choices or value in spec.choices)
    if fits and spec.limits and not spec.limits[0] <= value <= spec.limits[1]:
        fits = False
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if not fits:
        raise ConfigError(f"{source}: parameter '{spec.name}' is {value!r:.80}, expected {spec.expected}")
    return value


def _sections(data: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every ``ros__parameters`` with the last part of the name of the node it is for."""
    for key, value in data.items():
        if not isinstance(value, dict):
            continue
        if key == "ros__parameters":
            yield (path[-1] if path else _WILDCARDS[1]), value
        else:
            yield from _sections(value, (*path, *(part for part in str(key).split("/") if part)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
