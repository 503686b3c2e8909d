"""The latched class map beside the label images.

``vision_msgs/LabelInfo`` where that package is installed (apt: ros-<distribution>-vision-msgs), else
``std_msgs/String`` with the same fields as JSON:
``{"class_map": [{"class_id": 0, "class_name": "sky"}, ...], "threshold": 0.4}``.

The unknown's own id is in the map; 255 (unlabelled) is not.
"""

from __future__ import annotations

from typing import Any

from std_msgs.msg import String

from m2a_core.labels.label_set import UNKNOWN_NAME, LabelSet
from m2a_ros.outputs.output_spec import class_map_json

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ModuleNotFoundError:
    LabelInfo = None

LABEL_INFO = LabelInfo or String
"""Type of the messages."""


def label_info_message(labels: LabelSet, threshold: float) -> Any:
    """Build the message.

    Args:
        labels: the known classes.
        threshold: anomaly score from which a pixel is unknown.

    Returns:
        ``vision_msgs/LabelInfo`` or its ``std_msgs/String`` stand-in.
    """
    if LabelInfo is None:
        return String(data=class_map_json(labels, threshold))
    names = (*labels.names, UNKNOWN_NAME)
    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(names)]
    return LabelInfo(class_map=classes, threshold=threshold)
