"""Unknown objects as the arrays of ``supervision.Detections`` (https://supervision.roboflow.com)."""

from __future__ import annotations

import numpy as np

from m2a_core.labels.label_set import UNKNOWN_NAME, LabelSet
from m2a_core.types import OpenSetResult


def detection_arrays(result: OpenSetResult, labels: LabelSet) -> dict[str, np.ndarray]:
    """The unknown objects of an image.

    Args:
        result: with ``unknown_instances`` at the image's size.
        labels: the known classes.

    Returns:
        N objects, the surest first: ``xyxy`` float32 [N, 4] in pixels, x1 and y1 exclusive; ``mask`` bool [N, H, W];
        ``confidence`` float32 [N]; ``class_id`` int64 [N], the unknown's; ``tracker_id`` int64 [N], ids of instances;
        ``class_name``, texts [N].
    """
    ids, items = result.unknown_instances, result.instances
    assert ids is not None, "every output is computed"
    return {
        "xyxy": np.array([item.bbox for item in items], np.float32).reshape(-1, 4),
        "mask": np.array([ids == item.id for item in items], bool).reshape(-1, *ids.shape),
        "confidence": np.array([item.score for item in items], np.float32),
        "class_id": np.full(len(items), labels.unknown_id, np.int64),
        "tracker_id": np.array([item.id for item in items], np.int64),
        "class_name": np.full(len(items), UNKNOWN_NAME),
    }
