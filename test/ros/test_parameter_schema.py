"""The JSON Schema of parameter files says what the node says."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from docs.site.parameter_schema import parameter_schema, schema_text
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.process.shared_files import shared_file
from test.ros.test_configure import BAD_PARAMETERS, flat

# What only the model or another parameter can tell, and what JSON cannot: 2 from 2.0.
UNSEEN = {
    "no such model",
    "other classes",
    "whole number for a real",
    "of no camera",
    "settings of no camera",
    "anchor that is not a camera",
    "rectified twice",
    "extent above the seed",
    "not a number",
}


def is_valid(parameters: dict[str, Any], node: str = "/**") -> bool:
    return jsonschema.Draft7Validator(parameter_schema()).is_valid({node: {"ros__parameters": parameters}})


def nested(parameters: dict[str, Any]) -> dict[str, Any]:
    """``a__b`` as ``test_configure`` writes it, to nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in parameters.items():
        *folders, last = name.split("__")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[last] = value
    return tree


def test_shipped_schema_is_the_declared_parameters() -> None:
    shipped = shared_file("config/m2a.param.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(), "python -m docs.site.parameter_schema > config/m2a.param.schema.json"


def test_schema_is_one_and_takes_the_shipped_parameter_file() -> None:
    jsonschema.Draft7Validator.check_schema(parameter_schema())
    jsonschema.validate(yaml.safe_load(shared_file("config/m2a.param.yaml").read_text()), parameter_schema())


def test_schema_has_every_parameter_with_its_default() -> None:
    node = parameter_schema()["additionalProperties"]["properties"]["ros__parameters"]
    for group in ("camera", "mounting"):
        cameras = node["properties"][group].pop("patternProperties")
        node["properties"][group]["properties"] = {"front": next(iter(cameras.values()))}

    def defaults(branch: dict[str, Any]) -> dict[str, Any]:
        properties = branch.get("properties", {}).items()
        present = {name: leaf for name, leaf in properties if "deprecated" not in leaf}
        return {name: leaf["default"] if "default" in leaf else defaults(leaf) for name, leaf in present.items()}

    found = flat(defaults(node))
    assert found.pop("use_sim_time") is False
    assert found == {spec.name: spec.default for spec in all_parameters(["front"])}


@pytest.mark.parametrize("case", sorted(BAD_PARAMETERS.keys() - UNSEEN))
def test_what_the_node_refuses_the_schema_refuses(case: str) -> None:
    assert not is_valid(nested(BAD_PARAMETERS[case][0]))


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 1.0])
def test_thresholds_are_a_share_or_the_model_s_own(threshold: float) -> None:
    assert is_valid({"thresholds": {"anomaly": threshold}})


@pytest.mark.parametrize(
    "parameters",
    [
        {"cameras": ["left", "right"], "mounting": {"left": {"height": 1.2}, "right": {"yaw": -1.5}}},
        {"use_sim_time": True, "qos_overrides": {"/m2a/input/front/image": {"subscription": {"depth": 5}}}},
        {},
    ],
)
def test_other_cameras_and_ros_s_own_parameters_are_taken(parameters: dict[str, Any]) -> None:
    assert is_valid(parameters, node="/vehicle/m2a")


@pytest.mark.parametrize("parameters", [{"cameras": []}, {"mounting": {"2nd": {}}}, {"mounting": {"a": {"z": 1.0}}}])
def test_bad_camera_lists_and_mountings_are_refused(parameters: dict[str, Any]) -> None:
    assert not is_valid(parameters)


@pytest.mark.parametrize(("frames", "valid"), [(3, True), (0, False), ("3", False)])
def test_old_names_are_checked_as_the_present_ones(frames: object, valid: bool) -> None:
    assert is_valid({"tracking": {"confirm_frames": frames}}) == valid
