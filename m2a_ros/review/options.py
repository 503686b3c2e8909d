"""The options of ``m2a replay`` that concern ground truth and the report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m2a_ros.review.request import ReviewRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("ground truth", "labels are 0 known, 1 anomaly, 255 void, at the image's size")
    group.add_argument("--gt", type=Path, metavar="DIR", help="DIR/STAMP_NS.png, or DIR/CAMERA/STAMP_NS.png")
    group.add_argument(
        "--gt-topic",
        action="append",
        default=[],
        metavar="TOPIC[=CAMERA]",
        help="label images (mono8) in the bag, by the stamp of the image; once a camera",
    )
    group.add_argument(
        "--gt-instances", type=Path, metavar="DIR", help="instance ids, 8 or 16 bits, laid out as --gt; 0 is none"
    )
    group.add_argument(
        "--gt-instances-topic",
        action="append",
        default=[],
        metavar="TOPIC[=CAMERA]",
        help="instance ids (mono8, mono16, 16UC1) in the bag",
    )
    group.add_argument(
        "--segment",
        type=float,
        metavar="SECONDS",
        help="length of the segments with figures of their own (default: 10)",
    )
    group.add_argument(
        "--segment-topic", metavar="TOPIC", help="std_msgs/String topic whose messages begin the segments instead"
    )
    group.add_argument(
        "--track",
        choices=("anomaly", "obstacle"),
        default="anomaly",
        help="component sizes of which SMIYC track (default: %(default)s)",
    )
    group.add_argument(
        "--mounting",
        action="append",
        default=[],
        metavar="[CAMERA:]height=M[,pitch=RAD]",
        help="where the camera sits, for distances; also x, y, roll, yaw (default: /tf_static of the bag)",
    )
    group.add_argument(
        "--scores",
        default="",
        metavar="NAME,...",
        help="compare anomaly scores on the frames with ground truth: all, or some of refined, anomaly, msp, "
        "max_logit, entropy, energy, rba, eam, aem, maskomaly, void_classifier, background, refined_road, "
        "refined_anomaly, refined_background",
    )


def request_of(args: argparse.Namespace) -> ReviewRequest:
    """The request that the options make.

    Raises:
        ConfigError: they contradict each other or hold values that mean nothing.
    """
    from m2a_core.metrics.component import Track
    from m2a_ros.review.request import ReviewRequest

    return ReviewRequest(
        truth=args.gt,
        truth_topics=tuple(args.gt_topic),
        instances=args.gt_instances,
        instance_topics=tuple(args.gt_instances_topic),
        segment_s=args.segment,
        segment_topic=args.segment_topic,
        track=Track(args.track),
        mountings=tuple(args.mounting),
        scores=args.scores,
    )
