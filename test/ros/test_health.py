from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from m2a_ros.main import main
from m2a_ros.node import diagnostics_reader
from m2a_ros.node.health import judge

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def statuses(node: bytes, camera: bytes) -> list[DiagnosticStatus]:
    return [
        DiagnosticStatus(name="m2a: node", level=node, message="state"),
        DiagnosticStatus(name="m2a: camera front", level=camera, message="frames"),
        DiagnosticStatus(name="lidar: driver", level=ERROR, message="another's"),
    ]


@pytest.mark.parametrize(
    ("node", "camera", "well", "strictly"),
    [
        (OK, OK, True, True),
        (OK, WARN, True, False),
        (OK, ERROR, False, False),
        (WARN, OK, False, False),
        (ERROR, OK, False, False),
    ],
)
def test_an_active_node_without_errors_is_well(node: bytes, camera: bytes, well: bool, strictly: bool) -> None:
    assert judge("m2a: ", statuses(node, camera), strict=False)[0] is well
    assert judge("m2a: ", statuses(node, camera), strict=True)[0] is strictly


def test_the_text_tells_the_node_s_own_statuses_only() -> None:
    _, text = judge("m2a: ", statuses(OK, WARN), strict=False)
    assert text.splitlines() == ["OK m2a: node: state", "WARN m2a: camera front: frames"]


def test_silence_is_not_well() -> None:
    well, text = judge("m2a: ", [], strict=False)
    assert not well
    assert "does not run" in text


@pytest.mark.parametrize(("given", "code"), [(statuses(OK, OK), 0), (statuses(ERROR, OK), 1), ([], 1)])
def test_the_command_s_exit_code_says_it(monkeypatch: pytest.MonkeyPatch, given: list[Any], code: int) -> None:
    asked = SimpleNamespace(prefix="", timeout=0.0)

    def answer(prefix: str, timeout_s: float) -> list[Any]:
        asked.prefix, asked.timeout = prefix, timeout_s
        return given

    monkeypatch.setattr(diagnostics_reader, "next_statuses", answer)
    assert main(["health", "--timeout", "3"]) == code
    assert (asked.prefix, asked.timeout) == ("m2a: ", 3.0)
    main(["health", "--node", "/car/m2a"])
    assert asked.prefix == "car/m2a: "


def test_a_node_over_dds_is_asked(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Thread

    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    assert diagnostics_reader.next_statuses("m2a: ", 0.2) == []
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("speaker", context=context)
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
    node.create_timer(0.1, lambda: publisher.publish(DiagnosticArray(status=statuses(OK, WARN))))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        found = diagnostics_reader.next_statuses("m2a: ", 60.0)
    finally:
        executor.shutdown()
        thread.join(10)
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    assert [status.name for status in found] == ["m2a: node", "m2a: camera front", "lidar: driver"]
