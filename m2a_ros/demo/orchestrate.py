"""The live part: node, player and recorder, each a process of its own, over DDS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from tqdm import tqdm

from m2a_core.compose.clip import load_clip
from m2a_ros.demo.records import (
    ANOMALY,
    CAMERA,
    INSTANCES,
    MARKERS,
    MATCH_TIMEOUT_S,
    OPEN_SET,
    OVERLAY,
    Received,
    Sent,
    read_received,
    read_sent,
)
from m2a_ros.process.children import Child, ChildError, Children
from m2a_ros.process.dds import local_environment

MEASURED = (ANOMALY, OPEN_SET, INSTANCES, MARKERS)
"""Outputs that are listened to while the node is measured; drawing an overlay would be work of another kind."""

_OVERLAY_SECONDS = 2.0
_LAST_FRAMES_S = 2.0
_LOOK_AGAIN_S = 0.5
_REFUSAL = "cannot configure"
"""Logged by a node that stays alive without being configured: no use to wait for it."""


@dataclass(frozen=True)
class Playback:
    """What to play, and where notes go.

    Attributes:
        clip: folder of the clip.
        model: name or path of the model bundle.
        rate: frames per second.
        duration: seconds.
        work: folder for logs and recordings.
        domain: ROS domain id.
    """

    clip: Path
    model: str
    rate: float
    duration: float
    work: Path
    domain: int


@dataclass(frozen=True)
class Recording:
    """What was sent and what came back.

    Attributes:
        sent: frames sent while measuring.
        received: outputs of the node that came while measuring.
        maps: folder with ``NNN.npz`` per clip frame: the node's maps of one frame that showed it.
        overlay_sent: frames sent afterwards, with the overlay listened to.
        overlay_received: overlays that came.
        overlays: folder with ``NNN.npz`` per clip frame: the node's overlays.
    """

    sent: list[Sent]
    received: list[Received]
    maps: Path
    overlay_sent: list[Sent]
    overlay_received: list[Received]
    overlays: Path


def play_live(playback: Playback, environment: Mapping[str, str]) -> Recording:
    """Play the clip through the node and record what it publishes.

    Args:
        playback: what to play.
        environment: environment of the processes; ROS and Fast DDS settings are added.

    Raises:
        ChildError: a process failed or did not find the others.
    """
    playback.work.mkdir(parents=True, exist_ok=True)
    settings = {
        **environment,
        **local_environment(environment),
        "ROS_DOMAIN_ID": str(playback.domain),
        "PYTHONUNBUFFERED": "1",
    }
    with Children() as children:
        parameters = ["--ros-args", "--params-file", str(_write_parameters(playback))]
        log = playback.work / "node.log"
        node = children.start("node", ["m2a_ros.node.main", *parameters], settings, log, reads_stdout=False)
        first = _record(playback, settings, children, node, MEASURED, playback.duration, "measured")
        second = _record(playback, settings, children, node, (OVERLAY,), _OVERLAY_SECONDS, "overlay")
        node.check_running()
        code = node.finish()
        if code != 0:
            raise ChildError(f"the node ended with exit code {code} when it was told to stop:\n{node.log_tail()}")
    return Recording(*first, *second)


def _write_parameters(playback: Playback) -> Path:
    camera = load_clip(playback.clip).camera
    parameters = {
        "model": playback.model,
        "cameras": [CAMERA],
        "extrinsics": "parameters",
        "mounting": {CAMERA: {"height": camera.above_road, "pitch": camera.pitch}},
    }
    path = playback.work / "node.param.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


def _record(
    playback: Playback,
    settings: Mapping[str, str],
    children: Children,
    node: Child,
    outputs: tuple[str, ...],
    duration: float,
    name: str,
) -> tuple[list[Sent], list[Received], Path]:
    """Play for a while with some outputs listened to; returns frames sent, outputs received, folder of their maps."""
    stamps, maps = playback.work / f"{name}_sent.csv", playback.work / name
    stamps.unlink(missing_ok=True)
    arguments = ["m2a_ros.demo.recorder", "--outputs", *outputs, "--sent", str(stamps), "--out", str(maps)]
    log = playback.work / f"{name}_recorder.log"
    recorder = children.start("recorder", arguments, settings, log, reads_stdout=True)
    _wait_until_ready(recorder, node)
    arguments = [
        *("m2a_ros.demo.player", "--clip", str(playback.clip), "--rate", str(playback.rate)),
        *("--duration", str(duration), "--log", str(stamps)),
    ]
    log = playback.work / f"{name}_player.log"
    player = children.start("player", arguments, settings, log, reads_stdout=True)
    total = max(1, round(playback.rate * duration))
    with tqdm(total=total, desc=f"{name:>8}", unit="frame", dynamic_ncols=True) as bar:
        while (line := player.next_line(_LOOK_AGAIN_S)) != "":
            bar.update(int(line or bar.n) - bar.n)
            node.check_running()
            recorder.check_running()
    if player.wait(MATCH_TIMEOUT_S) != 0:
        raise ChildError(f"the player found no reader of its images; the node says:\n{node.log_tail()}")
    time.sleep(_LAST_FRAMES_S)
    recorder.check_running()
    if recorder.finish() != 0:
        raise ChildError(f"the recorder failed:\n{recorder.log_tail()}")
    return read_sent(stamps), read_received(maps / "received.csv"), maps


def _wait_until_ready(recorder: Child, node: Child) -> None:
    while (line := recorder.next_line(_LOOK_AGAIN_S)) != "ready":
        node.check_running()
        if line == "" or _REFUSAL in node.log_tail():
            raise ChildError(f"the node publishes nothing; it says:\n{node.log_tail()}")
