"""When the node reports on ``/diagnostics``: by its period, and at once when something is newly wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from m2a_core import __version__
from m2a_ros.node.diagnostics import CameraDiagnostics, CameraView, NodeView, make_array, node_status
from m2a_ros.node.surroundings import problems_around
from m2a_ros.process.qos import ignored_overrides

if TYPE_CHECKING:
    from m2a_ros.node.node import M2aNode


class DiagnosticsReporter:
    """Publishes what is to be said of a node and its cameras."""

    def __init__(self, node: M2aNode) -> None:
        """Create the publisher."""
        self._notes: list[str] = []
        self._node = node
        # Two nodes side by side differ in their namespace.
        self._label = node.get_fully_qualified_name().lstrip("/")
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self._cameras: dict[str, CameraDiagnostics] = {}
        self._alarms: set[str] = set()

    def start(self) -> None:
        """The node becomes active: its cameras are looked at for the first time."""
        self._notes = ignored_overrides(self._node)
        for note in self._notes:
            self._node.get_logger().warning(note)
        self._cameras = {name: CameraDiagnostics(f"{self._label}: camera {name}") for name in self._node.inputs}

    def look(self) -> tuple[bool, float]:
        """Publish at once if a camera has become silent or a step hangs.

        Returns:
            Whether all is well, and seconds until a camera can become silent.
        """
        timeout, stalled = self._timeout_s(), self._node.watchdog.problem
        silences = {name: self._node.statistics[name].silent_s() for name in self._node.inputs}
        silent = {name for name, seconds in silences.items() if seconds > timeout}
        # The seconds in its text change, how it begins does not.
        alarms = silent | ({stalled[:8]} if stalled else set())
        if alarms - self._alarms:
            self.publish()
        self._alarms = alarms
        return not alarms, min((timeout - seconds for seconds in silences.values()), default=float("inf"))

    def publish(self) -> None:
        """Publish the state of the node and of every camera."""
        node = self._node
        warnings = problems_around(node) if node.state == "active" else []
        view = NodeView(node.state, node.problem or node.watchdog.problem, self._facts(), warnings, self._notes)
        statuses = [node_status(f"{self._label}: node", view)]
        for name, camera in node.inputs.items():
            snapshot = node.statistics[name].snapshot()
            seen = CameraView(camera.topic, camera.publisher_count(), snapshot, camera.cause_of_silence)
            statuses.append(self._cameras[name].status(seen, self._timeout_s()))
        self._publisher.publish(make_array(node.get_clock().now().to_msg(), statuses))

    def _timeout_s(self) -> float:
        """How long a camera may be without a frame."""
        return float(self._node.get_parameter("diagnostics.frame_timeout").value)

    def _facts(self) -> dict[str, str]:
        facts = {}
        if self._node.model is not None:
            manifest = self._node.model.manifest
            facts = {
                "version": __version__,
                "model": manifest.name,
                "onnx_sha256": manifest.onnx_sha256,
                "backend": self._node.model.backend,
                "network_pid": str(self._node.model.pid),
                "input_size": f"{manifest.input_size[1]}x{manifest.input_size[0]}",
            }
        if self._node.batches is not None:
            batch = self._node.batches.facts
            facts |= {
                "batches": str(batch.count),
                "batch_cameras": str(batch.cameras),
                "batch_spread_ms": f"{batch.spread_ms:.1f}",
            }
        return facts
