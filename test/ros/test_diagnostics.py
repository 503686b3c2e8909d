from __future__ import annotations

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from m2a_ros.node.diagnostics import CameraDiagnostics, CameraView, NodeView, node_status
from m2a_ros.process.statistics import CameraStatistics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def look(diagnostics: CameraDiagnostics, statistics: CameraStatistics, publishers: int = 1, timeout: float = 1e6):
    status = diagnostics.status(CameraView("/camera", publishers, statistics.snapshot()), timeout)
    return status.level, status.message, {pair.key: pair.value for pair in status.values}


def test_running_camera_reports_counts_and_times() -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("m2a: camera front")
    for _ in range(3):
        statistics.arrived(0.0)
    statistics.dropped("replaced_by_newer")
    statistics.published({"network_ms": 12.345})
    level, message, values = look(diagnostics, statistics)
    assert (level, message) == (OK, "running")
    assert (values["received"], values["published"], values["dropped.replaced_by_newer"]) == ("3", "1", "1")
    assert values["network_ms"] == "12.35"
    assert float(values["input_rate_hz"]) == pytest.approx(3 * float(values["output_rate_hz"]), rel=0.01)


@pytest.mark.parametrize(
    ("reason", "level", "word"),
    [
        ("bad_image.size_mismatch", WARN, "1 bad frames: the step"),
        ("not_rectified.no_camera_info", WARN, "1 bad frames: the step"),
        ("outside_window", WARN, "batch.max_spread"),
        ("inference_error", ERROR, "1 frames failed: the step"),
        ("internal_error", ERROR, "1 frames failed: the step"),
        ("no_subscriber", OK, "nobody subscribes"),
        ("replaced_by_newer", OK, "running"),
    ],
)
def test_a_dropped_frame_shows_by_reason_and_only_while_new(reason: str, level: bytes, word: str) -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("m2a: camera front")
    statistics.dropped(reason, "the step")
    first = look(diagnostics, statistics)
    assert first[0] == level
    assert word in first[1]
    assert look(diagnostics, statistics)[:2] == (OK, "running")


def test_silence_tells_a_missing_publisher_from_images_that_do_not_come() -> None:
    missing = look(CameraDiagnostics("c"), CameraStatistics(), publishers=0, timeout=-1.0)
    assert missing[0] == WARN
    assert "no publisher on /camera" in missing[1]
    mute = look(CameraDiagnostics("c"), CameraStatistics(), publishers=1, timeout=-1.0)
    assert mute[0] == WARN
    assert "fastdds_profile.xml" in mute[1]
    stopped = CameraStatistics()
    stopped.arrived(0.0)
    assert "stopped sending" in look(CameraDiagnostics("c"), stopped, publishers=1, timeout=-1.0)[1]


def test_quality_of_service_that_does_not_fit_warns_and_explains_the_silence() -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    statistics.qos_mismatch("/m2a/output/front/panoptic", "DURABILITY")
    level, message, values = look(diagnostics, statistics)
    assert level == WARN
    assert "/m2a/output/front/panoptic DURABILITY" in message
    assert values["qos_mismatch./m2a/output/front/panoptic DURABILITY"] == "1"
    assert look(diagnostics, statistics)[:2] == (OK, "running")
    statistics.qos_mismatch("/camera", "RELIABILITY")
    for _ in range(2):
        assert "qos_overrides./camera.subscription.reliability" in look(diagnostics, statistics, timeout=-1.0)[1]


def test_no_override_is_recommended_for_a_policy_that_has_none() -> None:
    statistics = CameraStatistics()
    statistics.qos_mismatch("/camera", "DEADLINE")
    message = look(CameraDiagnostics("c"), statistics, timeout=-1.0)[1]
    assert "change the deadline of the publisher" in message
    assert "qos_overrides" not in message


def test_unplaced_instances_warn() -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    statistics.without_markers("no_camera_info")
    level, message, values = look(diagnostics, statistics)
    assert level == WARN
    assert "camera_info" in message
    assert values["without_markers.no_camera_info"] == "1"


def test_stamps_of_no_use_warn_while_new() -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    statistics.odd_stamp("zero")
    level, message, values = look(diagnostics, statistics)
    assert level == WARN
    assert "zero" in message
    assert values["stamps.zero"] == "1"
    assert look(diagnostics, statistics)[:2] == (OK, "running")


@pytest.mark.parametrize(
    ("state", "problem", "level"),
    [("active", "", OK), ("inactive", "", WARN), ("unconfigured", "", WARN), ("unconfigured", "no model", ERROR)],
)
def test_node_status_follows_its_state(state: str, problem: str, level: bytes) -> None:
    status = node_status("m2a: node", NodeView(state, problem, {"model": "tiny"}))
    assert status.level == level
    assert problem in status.message
    assert {pair.key: pair.value for pair in status.values} == {"state": state, "model": "tiny"}


def test_a_working_node_warns_of_what_is_around_it_and_mentions_what_is_harmless() -> None:
    status = node_status("m2a: node", NodeView("active", "", {}, ["no clock"], ["an override"]))
    assert (status.level, status.message) == (WARN, "active; no clock; an override")
    status = node_status("m2a: node", NodeView("active", "", {}, [], ["an override"]))
    assert (status.level, status.message) == (OK, "active; an override")


def test_a_worker_that_hangs_is_an_error_while_frames_only_replace_each_other(monkeypatch) -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    start = time.monotonic()

    def more_frames(second: float) -> tuple[bytes, str]:
        monkeypatch.setattr(time, "monotonic", lambda: start + second)
        for _ in range(30):
            statistics.arrived(start + second)
            statistics.dropped("replaced_by_newer")
        return look(diagnostics, statistics, timeout=2.0)[:2]

    assert more_frames(0) == (OK, "running")
    level, message = more_frames(3)
    assert level == ERROR
    assert "none was answered for 3.0 s" in message
    statistics.published({})
    assert more_frames(3.5)[0] == WARN  # Overload: most frames are still replaced.


def test_a_worker_that_looks_at_frames_and_drops_them_does_not_hang(monkeypatch) -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    start = time.monotonic()
    for second in range(5):
        monkeypatch.setattr(time, "monotonic", lambda now=start + second: now)
        statistics.arrived(start + second)
        statistics.dropped("rate_limit")
        assert look(diagnostics, statistics, timeout=2.0)[:2] == (OK, "running")


def drive(monkeypatch: pytest.MonkeyPatch, replaced: int, published: int, reason: str = "replaced_by_newer"):
    """Five seconds of frames, ten a second, looked at each second; what the last look says."""
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    start = time.monotonic()
    for second in range(1, 6):
        for _ in range(replaced + published):
            statistics.arrived(start + second)
        for _ in range(replaced):
            statistics.dropped(reason)
        for _ in range(published):
            statistics.published({})
        monkeypatch.setattr(time, "monotonic", lambda now=start + second: now)
        found = look(diagnostics, statistics)
    return found


@pytest.mark.parametrize(("replaced", "published", "level"), [(0, 10, OK), (5, 5, OK), (6, 4, WARN), (9, 1, WARN)])
def test_most_frames_replaced_is_overload_and_the_rates_are_told(monkeypatch, replaced, published, level):
    found = drive(monkeypatch, replaced, published)
    assert found[0] == level
    if level == WARN:
        assert f"{published:.1f} of 10.0 frames a second" in found[1]


def test_frames_that_the_rate_limit_leaves_out_are_no_overload(monkeypatch):
    assert drive(monkeypatch, 9, 1, "rate_limit")[0] == OK


@pytest.mark.parametrize(
    ("reasons", "level", "word"),
    [
        (["frozen_network"], ERROR, "the same answer for different images"),
        (["no_masks"], WARN, "no query"),
        (["no_masks", "no_masks", "black"], ERROR, "the images are black"),
    ],
)
def test_answers_that_tell_nothing_show_behind_images_that_show_nothing(
    reasons: list[str], level: bytes, word: str
) -> None:
    statistics, diagnostics = CameraStatistics(), CameraDiagnostics("c")
    for reason in reasons:
        statistics.degraded(reason)
    told = look(diagnostics, statistics)
    assert told[0] == level
    assert word in told[1]
    assert look(diagnostics, statistics)[:2] == (OK, "running")
