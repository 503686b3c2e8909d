"""What the node publishes of a frame, once for the node and for replaying bags. No rclpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m2a_core.labels.label_set import UNKNOWN_NAME, LabelSet
from m2a_core.types import Output
from m2a_ros.images.encodings import pixel_format


@dataclass(frozen=True)
class MapOutput:
    """An output that is an image.

    Attributes:
        topic: last part of its topic.
        output: what must be computed for it.
        encoding: of the message.
        write: from the result's map into the message's pixels, an array of the same shape.
    """

    topic: str
    output: Output
    encoding: str
    write: Callable[[np.ndarray, np.ndarray], object]

    def convert(self, values: np.ndarray) -> np.ndarray:
        """The message's array of a result's map."""
        out = np.empty(values.shape, pixel_format(self.encoding).dtype)
        self.write(values, out)
        return out


def _copy(values: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, values, casting="unsafe")


SCORE_MAP, MASK = "anomaly_map", "open_set_mask"
MAPS = (
    # The score that decides, so that map, mask and threshold say the same. f sums over queries and can leave [0, 1] by
    # a little; readers are promised [0, 1].
    MapOutput(SCORE_MAP, Output.SCORE, "32FC1", lambda score, out: np.clip(score, 0.0, 1.0, out=out)),
    MapOutput(MASK, Output.OPEN_SET, "mono8", _copy),
    MapOutput("panoptic", Output.PANOPTIC, "16UC1", _copy),
    MapOutput("unknown_instances", Output.UNKNOWN_INSTANCES, "16UC1", _copy),
)


def class_map_json(labels: LabelSet, threshold: float) -> str:
    """The class map as JSON with the fields of ``vision_msgs/LabelInfo``; see ``m2a_ros.outputs.label_info``.

    Args:
        labels: the known classes.
        threshold: score of the anomaly map from which a pixel is unknown.
    """
    names = (*labels.names, UNKNOWN_NAME)
    class_map = [{"class_id": i, "class_name": name} for i, name in enumerate(names)]
    return json.dumps({"class_map": class_map, "threshold": threshold})
