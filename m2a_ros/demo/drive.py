"""The demo's drive: a bag of the clip, replayed at its own pace through the real node."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core.bundle.loading import ModelBundle
from m2a_core.compose.clip import Clip
from m2a_core.files import read_json
from m2a_ros.bag.cameras import choose
from m2a_ros.bag.make import IMAGE_TOPIC, make_looped_bag
from m2a_ros.bag.reader import Bag
from m2a_ros.replay.mode_settings import ModeSettings
from m2a_ros.replay.session import Request, replay
from m2a_ros.review.request import ReviewRequest, Source

CAMERA = "front"
_NAME = "motorway"
_TOPIC = f"{IMAGE_TOPIC}/compressed"


@dataclass(frozen=True)
class Drive:
    """A drive that was replayed.

    Attributes:
        work: folder with everything, to be deleted.
        results: the replay's output folder in it.
        source: the bag.
        summary: the replay's ``summary.json``.
        rate: frames per second that were sent.
    """

    work: Path
    results: Path
    source: Source
    summary: Mapping[str, Any]
    rate: float


def replay_drive(clip: Clip, bundle: ModelBundle, rate: float, seconds: float, work: Path) -> Drive:
    """Make the bag and replay it.

    Args:
        clip: what is played, forth and back.
        bundle: the model that the node runs.
        rate: frames per second.
        seconds: how long to play.
        work: folder for bag and results; emptied first.

    Raises:
        DataError: the clip is damaged.
        ReplayError: the node ended or cannot be configured.
        OSError: ``work`` cannot be written.
    """
    shutil.rmtree(work, ignore_errors=True)
    make_looped_bag(clip.folder, work, seconds, rate)
    bag = (work / "bag").rename(work / _NAME)
    request = Request(
        bags=(bag,),
        mode="realtime",
        out=work / "results",
        topics=(f"{_TOPIC}={CAMERA}",),
        review=ReviewRequest(truth=work / "truth", instances=work / "instances", scores="msp"),
        parameters={"model": str(bundle.directory)},
        params_file=None,
        settings=ModeSettings(),
    )
    replay(request)
    with Bag(bag) as opened:
        source = Source(_NAME, bag, choose(opened, {_TOPIC: CAMERA}).used)
    return Drive(work, request.out, source, read_json(request.out / "summary.json"), rate)
