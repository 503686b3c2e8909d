"""What to find out about a replay beyond its results, and the bags they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core.errors import ConfigError
from m2a_core.evaluation.predict import parse_scores
from m2a_core.metrics.component import Track
from m2a_ros.bag.calibration import parse_mountings
from m2a_ros.bag.cameras import CameraTopic

_SHORTEST_S = 0.001


def check_segment(seconds: float | None) -> None:
    """Raise ConfigError for segments that are too short to mean anything."""
    if seconds is not None and not seconds >= _SHORTEST_S:
        raise ConfigError(f"--segment {seconds:g}: expected at least {_SHORTEST_S:g} seconds")


@dataclass(frozen=True)
class ReviewRequest:
    """The options of ``m2a replay`` that need no network; see ``m2a replay --help``.

    Attributes:
        truth: folder of masks named by stamp, or None.
        truth_topics: ``TOPIC`` or ``TOPIC=CAMERA``, label images in the bags.
        instances: folder of instance ids, laid out as ``truth``, or None.
        instance_topics: as ``truth_topics``, instance ids.
        segment_s: length of a segment in seconds; None for the default of ``review.segments``.
        segment_topic: ``std_msgs/String`` topic whose messages each begin a segment of their name.
        track: component sizes of which SMIYC track.
        mountings: ``[CAMERA:]height=M[,pitch=RAD...]``.
        scores: names of anomaly scores to compare, separated by commas, or ``all``; empty for none.
    """

    truth: Path | None = None
    truth_topics: tuple[str, ...] = ()
    instances: Path | None = None
    instance_topics: tuple[str, ...] = ()
    segment_s: float | None = None
    segment_topic: str | None = None
    track: Track = Track.ANOMALY
    mountings: tuple[str, ...] = ()
    scores: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked without a bag.

        Raises:
            ConfigError: options contradict each other or hold values that mean nothing.
        """
        if self.truth and self.truth_topics:
            raise ConfigError("--gt and --gt-topic: ground truth is either a folder or a topic; give one of them")
        if self.instances and self.instance_topics:
            raise ConfigError("--gt-instances and --gt-instances-topic: give one of them")
        if (self.instances or self.instance_topics) and not self.has_truth:
            raise ConfigError("instance ids alone are not ground truth; also give --gt DIR or --gt-topic TOPIC")
        if self.segment_s is not None and self.segment_topic:
            raise ConfigError("--segment and --segment-topic: segments are of a length or marked; give one of them")
        check_segment(self.segment_s)
        if self.scores and not self.has_truth:
            raise ConfigError("--scores compares scores against ground truth; also give --gt DIR or --gt-topic TOPIC")
        if self.scores:
            parse_scores(self.scores)
        parse_mountings(self.mountings)

    @property
    def has_truth(self) -> bool:
        """Whether there is ground truth."""
        return bool(self.truth or self.truth_topics)

    @property
    def label_topics(self) -> frozenset[str]:
        """Topics that hold labels and no camera's images."""
        return frozenset(argument.partition("=")[0] for argument in (*self.truth_topics, *self.instance_topics))

    def identity(self) -> dict[str, Any]:
        """The request as JSON values: what the outcome depends on."""
        folders = {"ground_truth": self.truth, "instances": self.instances}
        return {
            **{name: str(path.resolve()) if path else None for name, path in folders.items()},
            "ground_truth_topics": list(self.truth_topics),
            "instance_topics": list(self.instance_topics),
            "segment_s": self.segment_s,
            "segment_topic": self.segment_topic,
            "track": self.track.value,
            "mountings": list(self.mountings),
            "scores": self.scores,
        }


@dataclass(frozen=True)
class Source:
    """A bag that was replayed.

    Attributes:
        name: name of its folder of results.
        path: the bag.
        cameras: the topics that were evaluated.
        rectified: names of the cameras whose results are of rectified images.
    """

    name: str
    path: Path
    cameras: tuple[CameraTopic, ...]
    rectified: frozenset[str] = frozenset()
