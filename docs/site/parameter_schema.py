"""The node's parameter files as a JSON Schema, for editors and for checks before a vehicle is started.

``config/m2a.param.schema.json`` is what this module prints (``python -m docs.site.parameter_schema``); a test keeps the
two equal. Parameters must be nested as in ``config/m2a.param.yaml``; ROS also reads names with dots in them, which the
schema refuses, and refuses ``1`` where a number needs a decimal point, which no JSON Schema can tell from ``1.0``.
"""

from __future__ import annotations

import json
from typing import Any

from m2a_ros.parameters.declarations import TOPIC_TOKEN, all_parameters
from m2a_ros.parameters.spec import ParameterSpec

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
_ANY_CAMERA = "NAME"


def parameter_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 7) of a file for ``--params-file``."""
    node = _tree(all_parameters([_ANY_CAMERA]))
    for group in ("camera", "mounting"):
        one = node["properties"][group]["properties"][_ANY_CAMERA]
        node["properties"][group] = {
            "type": "object",
            "patternProperties": {_token(): one},
            "additionalProperties": False,
        }
    node["properties"] |= {
        "use_sim_time": {"type": "boolean", "default": False, "description": "Take the time from /clock."},
        "qos_overrides": {"type": "object", "description": "Quality of service by topic; see docs/node.md."},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Parameters of the node m2a",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {"ros__parameters": node},
            "required": ["ros__parameters"],
            "additionalProperties": False,
        },
    }


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(parameter_schema(), indent=2) + "\n"


def _tree(specs: tuple[ParameterSpec, ...]) -> dict[str, Any]:
    """An object with the parameters nested by the dots in their names."""
    root: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    for spec in specs:
        *folders, name = spec.name.split(".")
        branch = root
        for folder in folders:
            empty = {"type": "object", "properties": {}, "additionalProperties": False}
            branch = branch["properties"].setdefault(folder, empty)
        branch["properties"][name] = _leaf(spec)
        if spec.old_name:
            *_, old = spec.old_name.split(".")
            values = {key: value for key, value in _leaf(spec).items() if key != "default"}
            branch["properties"][old] = {**values, "description": f"Deprecated: use {spec.name}.", "deprecated": True}
    return root


def _leaf(spec: ParameterSpec) -> dict[str, Any]:
    live = " May change while the node runs." if spec.live else ""
    leaf: dict[str, Any] = {
        "type": _TYPES[type(spec.default)],
        "description": spec.description + live,
        "default": spec.default,
    }
    if spec.choices:
        leaf["enum"] = list(spec.choices)
    if spec.limits:
        low, high = spec.limits
        limits = {"minimum": low, "maximum": high}
        leaf |= limits if spec.special is None else {"anyOf": [{"const": spec.special}, limits]}
    if spec.required:
        leaf["minLength"] = 1
    if isinstance(spec.default, list):
        leaf["items"] = {"type": "string"}
    if spec.name == "cameras":
        leaf |= {"minItems": 1, "uniqueItems": True, "items": {"type": "string", "pattern": _token()}}
    return leaf


def _token() -> str:
    return f"^{TOPIC_TOKEN.pattern}$"


if __name__ == "__main__":
    print(schema_text(), end="")
