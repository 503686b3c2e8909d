"""The node with classes that were not wired in, none of them a road: it works, and says what it does without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image

from m2a_core.labels.label_set import LabelSet
from test.ros.in_process import Nodes, ids
from test.ros.messages import image
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle

MASK = "/m2a/output/front/open_set_mask"
LABELS = LabelSet("warehouse", ("floor", "pallet", "Gabelstapler"), frozenset({1, 2}), ((1, 2, 3),) * 3, None)


def test_the_node_works_with_classes_of_ones_own(
    nodes: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nodes.start(model=str(write_tiny_bundle(tmp_path / "own", labels=LABELS)), cameras=["front"])
    assert "none of its classes is the road: no second look at the road's far end" in capfd.readouterr().err
    nodes.listen(MASK, Image)
    scene = np.empty((96, 128, 3), np.uint8)
    scene[:] = tiny_colors(LABELS)["floor"]
    scene[40:72, 40:80] = RED
    mask = ids(nodes.answer(MASK, image(scene, 1), "/m2a/input/front/image"))
    assert set(np.unique(mask[46:66, 46:74])) == {LABELS.unknown_id}
    assert set(np.unique(mask[:32])) == {0}
