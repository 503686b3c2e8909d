"""The demo over real DDS with real processes, on a small model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import rclpy
from rclpy.context import Context
from sensor_msgs.msg import Image

from m2a_core.bundle.loading import load_bundle
from m2a_core.cli.main import EXIT_INTERRUPTED
from m2a_core.compose.clip import load_clip
from m2a_ros.bag.make import FRAME_ID
from m2a_ros.demo import drive as drive_module
from m2a_ros.main import main
from m2a_ros.process.children import Children, interrupts_deferred
from m2a_ros.process.domain import free_domain
from m2a_ros.replay import node_runner
from m2a_ros.replay.node_session import ReplayError
from m2a_ros.replay.session import Request
from test.ros.harness import python_path
from test.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.dds
ROOT = Path(__file__).parents[2]
CLIP = ROOT / "config" / "demo"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _children_find_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())


@contextmanager
def intruder(domain: int) -> Iterator[None]:
    """Publishes anomaly maps with a stamp that no camera sent."""
    context, end = Context(), threading.Event()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("intruder", context=context)
    publisher = node.create_publisher(Image, "/m2a/output/front/anomaly_map", 1)

    def publish() -> None:
        message = Image(height=1, width=1, encoding="32FC1", step=4, data=[0, 0, 0, 0])
        message.header.frame_id = FRAME_ID
        message.header.stamp.sec = 7
        while not end.wait(0.1):
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_demo_answers_frames_and_leaves_its_files(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["demo", "--model", str(model), "--duration", "1", "--rate", "4", "--out", str(tmp_path)])
    text = capfd.readouterr().out
    assert code == 0, text
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["problems"] == []
    assert figures["sent"] == 4
    assert 1 <= figures["maps"] <= 4
    assert figures["dropped"] == 4 - figures["maps"]
    assert set(figures["outputs"]) == {"anomaly_map", "open_set_mask", "panoptic", "unknown_instances"}
    assert figures["frames_scored"] == figures["maps"]
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    for shown in (
        r"sent\s+4 frames",
        r"dropped\s+\d+",
        r"latency\s+p50",
        r"AuPRC.*maximum softmax of the same network",
        r"files\s+/",
    ):
        assert re.search(shown, text), text
    reader, frames = cv2.VideoCapture(str(tmp_path / "overlay.webm")), 0
    while reader.grab():
        frames += 1
    assert frames == figures["maps"]
    assert cv2.imread(str(tmp_path / "contact_sheet.png")) is not None
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "data:video/webm;base64," in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "contact_sheet.png",
        "figures.json",
        "overlay.webm",
        "report.html",
    ]


def test_a_map_with_a_stamp_that_nobody_sent_fails_the_demo(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    domain = free_domain()
    monkeypatch.setattr(node_runner, "free_domain", lambda: domain)
    with intruder(domain):
        code = main(["demo", "--model", str(model), "--duration", "1", "--rate", "3", "--out", str(tmp_path)])
    text = capfd.readouterr().out
    assert code == 1, text
    assert re.search(r"checks\s+FAILED: anomaly_map of front: stamp 7000000000 .* was never sent", text), text
    assert json.loads((tmp_path / "figures.json").read_text())["problems"]


def test_interrupting_the_demo_leaves_no_process_behind(model: Path, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "m2a_ros.main", "demo", "--rate", "2", "--model", str(model), "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(started := children_of(demo.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(120) == EXIT_INTERRUPTED
    assert len(started) >= 2, "the node and the player had been started"
    assert not [pid for pid in started if is_running(pid)]


def test_a_node_that_refuses_its_setup_ends_the_demo_with_its_reason(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def with_a_backend_that_is_not_there(**fields: Any) -> Any:
        return Request(**{**fields, "parameters": {**fields["parameters"], "backend": "tensorrt"}})

    monkeypatch.setattr(drive_module, "Request", with_a_backend_that_is_not_there)
    with pytest.raises(ReplayError, match="(?s)cannot be configured.*engine"):
        drive_module.replay_drive(load_clip(CLIP), load_bundle(model), 10.0, 1.0, tmp_path / "work")


def test_an_interrupt_waits_until_a_child_is_in_the_books() -> None:
    reached = []

    def interrupted_block() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            reached.append(1)

    with pytest.raises(KeyboardInterrupt):
        interrupted_block()
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_child_that_fails_says_so_with_its_last_words(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start("thing", ["no_such_module"], os.environ, tmp_path / "log", reads_stdout=True)
        assert child.next_line(60) == ""
        assert child.wait(60) == 1
        assert "no_such_module" in child.log_tail()


@pytest.mark.parametrize("arguments", [["--rate", "0"], ["--rate", "nan"], ["--duration", "0"], ["--model", "nothing"]])
def test_bad_arguments_are_refused_before_anything_starts(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "out"), "--model", str(ROOT), *arguments]) == 2
    assert "m2a: error:" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
