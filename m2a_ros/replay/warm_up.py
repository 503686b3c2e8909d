"""Making sure, before a bag is played, that the node hears every camera and is heard on every output."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.messages import encoded, raw_image, stamped
from m2a_ros.bag.reader import COMPRESSED, IMAGE, TYPESTORE
from m2a_ros.replay.node_runner import RunningNode
from m2a_ros.replay.node_session import MATCH_TIMEOUT_S, Counts, Key, Outputs, ReplayError, put

WARM_UP_STAMP_NS = 1
_FRAME_ID = "m2a_replay_warm_up"
_AGAIN_S = 0.3
_SETTLE_S = 30.0
BLANK_SIZE = (64, 96)
"""H, W of black images of a camera whose calibration is not used."""


def blank_image(camera: CameraTopic, stamp_ns: int, size: tuple[int, int] = BLANK_SIZE) -> bytes:
    """A serialised black image of the camera's type; ``size`` is H, W."""
    pixels = np.zeros((*size, 3), np.uint8)
    header = stamped(stamp_ns, _FRAME_ID)
    if COMPRESSED in camera.types:
        return bytes(TYPESTORE.serialize_cdr(encoded(header, pixels, png=True), COMPRESSED))
    return bytes(TYPESTORE.serialize_cdr(raw_image(header, pixels, "rgb8"), IMAGE))


def warm_up(
    running: RunningNode,
    cameras: Sequence[CameraTopic],
    outputs: Sequence[str],
    send: Callable[[], object],
) -> Mapping[str, Counts]:
    """Send black images until every output of every camera answers them.

    Args:
        running: the node.
        cameras: the topics.
        outputs: what is listened to.
        send: publishes a black image on every topic.

    Returns:
        The cameras' figures in the diagnostics afterwards.

    Raises:
        ReplayError: the node does not answer.
    """
    came: dict[str, Outputs] = {camera.camera: Outputs() for camera in cameras}

    def note(key: Key, name: str, message: Any, arrived_ns: int) -> None:
        put(came[key[0]], name, message, arrived_ns)

    session = running.session
    session.wait_until_heard()
    session.on_output = note
    deadline = time.monotonic() + MATCH_TIMEOUT_S
    for camera in cameras:
        answer = came[camera.camera]
        while not answer.has(outputs):
            if time.monotonic() > deadline:
                raise ReplayError(
                    f"the node did not answer on every output of camera '{camera.camera}' within {MATCH_TIMEOUT_S:g} s:"
                    f"\n{running.child.log_tail()}"
                )
            send()
            session.wait(partial(answer.has, outputs), _AGAIN_S)
    return session.wait_until_settled([camera.camera for camera in cameras], _SETTLE_S)
