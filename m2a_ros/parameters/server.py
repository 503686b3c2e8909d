"""Declares the parameters on a ROS node and keeps bad values out.

A bad value in a parameter file must not kill the node: it is remembered, the default stands in, and ``settings``
refuses (so the node refuses to configure) until the parameter is set right.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from m2a_core.errors import ConfigError
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.old_names import present_names
from m2a_ros.parameters.settings import Settings, check_cameras
from m2a_ros.parameters.spec import ParameterSpec

_OF_A_CAMERA = ("camera.", "mounting.")
_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class ParameterServer:
    """The parameters of one node."""

    def __init__(self, node: Node, is_configured: Callable[[], bool], on_change: Callable[[Settings], None]) -> None:
        """Declare all parameters.

        Args:
            node: where to declare.
            is_configured: whether parameters that are not live must be refused now.
            on_change: called with the new settings after live parameters changed; may raise ``ConfigError`` to refuse.
        """
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        self._specs: dict[str, ParameterSpec] = {}
        self._refused: dict[str, str] = {}
        overrides = node._parameter_overrides
        node._parameter_overrides = {p.name: p for p in self._by_present_names(overrides.values())}
        if hasattr(node, "add_pre_set_parameters_callback"):  # rclpy has it since Iron
            node.add_pre_set_parameters_callback(self._by_present_names)
        for spec in all_parameters(()):
            self._declare(spec)
        self._declare_cameras()
        node.add_on_set_parameters_callback(self._check_change)

    def value(self, name: str) -> Any:
        """Current value of one parameter."""
        return self._node.get_parameter(name).value

    def settings(self) -> Settings:
        """All parameters, checked.

        Raises:
            ConfigError: naming every parameter that is unknown or was given a bad value, or values that do not fit.
        """
        self._declare_cameras()
        problems = [*self._refused.values(), *self._unknown()]
        if problems:
            raise ConfigError("; ".join(problems))
        return Settings.from_values({name: self.value(name) for name in self._specs})

    def _by_present_names(self, given: Iterable[Parameter[Any]]) -> list[Parameter[Any]]:
        present = present_names({parameter.name: parameter for parameter in given}, self._node.get_logger().warning)
        return [p if p.name == name else Parameter(name, p.type_, p.value) for name, p in present.items()]

    def _declare(self, spec: ParameterSpec) -> None:
        if spec.name in self._specs:
            return
        descriptor = ParameterDescriptor(name=spec.name, description=spec.description)
        if spec.choices:
            descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
        if spec.limits:
            numbers = [*spec.limits, *([] if spec.special is None else [spec.special])]
            low, high = min(numbers), max(numbers)
            if isinstance(spec.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
            else:
                descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        try:
            self._node.declare_parameter(spec.name, spec.default, descriptor)
            bad = not spec.allows(self.value(spec.name))
        except (InvalidParameterTypeException, InvalidParameterValueException):
            self._node.declare_parameter(spec.name, spec.default, descriptor, ignore_override=True)
            bad = True
        # Only now: rclpy runs the on-set callback for declarations too.
        self._specs[spec.name] = spec
        if bad:
            given = self._node._parameter_overrides[spec.name].value
            self._refused[spec.name] = (
                f"parameter '{spec.name}' is {given!r:.200}, expected {spec.expected}: {spec.description}"
            )

    def _declare_cameras(self) -> None:
        """Declare the parameters of cameras that have none yet; a bad list is left to ``settings`` to refuse."""
        try:
            cameras = check_cameras(self.value("cameras"))
        except ConfigError:
            return
        for spec in all_parameters(cameras):
            self._declare(spec)

    def _unknown(self) -> list[str]:
        # rclpy keeps undeclared overrides to itself and says nothing of them: a misspelt name would go unnoticed.
        given = sorted(self._node._parameter_overrides)
        unknown = [name for name in given if name not in self._specs and not self._changes_nothing(name)]
        return [f"parameter '{name}' is unknown; {self._hint(name)}" for name in unknown]

    def _changes_nothing(self, name: str) -> bool:
        """A parameter of ROS itself, or the default of a camera that is not listed: a file may name more cameras."""
        if name.startswith(_ROS_OWN):
            return True
        camera = name.split(".")[1] if name.startswith(_OF_A_CAMERA) else ""
        defaults = {spec.name: spec.default for spec in all_parameters((camera,))} if camera else {}
        return name in defaults and self._node._parameter_overrides[name].value == defaults[name]

    def _hint(self, name: str) -> str:
        if name.startswith(_OF_A_CAMERA):
            return f"'cameras' is {list(self.value('cameras'))}; add the camera there or remove the parameter"
        close = difflib.get_close_matches(name, self._specs, n=1)
        return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(self._specs))}"

    def _check_change(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        values = {name: self.value(name) for name in self._specs}
        ours = [change for change in changes if change.name in self._specs]
        for change in ours:
            spec = self._specs[change.name]
            if not spec.live and self._is_configured() and change.value != self.value(spec.name):
                return _refuse(f"'{spec.name}' is fixed while the node is configured: deactivate and clean up first")
            if change.type_ == Parameter.Type.NOT_SET or not spec.allows(change.value):
                return _refuse(f"'{spec.name}' is {change.value!r:.200}, expected {spec.expected}")
            values[change.name] = change.value
        if not ours:
            return SetParametersResult(successful=True)
        try:
            if self._is_configured():
                self._on_change(Settings.from_values(values))
            elif "cameras" in {change.name for change in ours}:
                check_cameras(values["cameras"])
        except ConfigError as error:
            return _refuse(str(error))
        for change in ours:
            self._refused.pop(change.name, None)
        return SetParametersResult(successful=True)


def _refuse(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
