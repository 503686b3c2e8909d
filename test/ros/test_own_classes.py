"""The node with classes that nobody wired in: none of them a road."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2a_core.labels.label_set import LabelSet
from m2a_core.types import Frame
from test.ros.test_configure import SUCCESS, MakeNode, make_node
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle

__all__ = ["make_node"]

LABELS = LabelSet("warehouse", ("floor", "pallet", "Gabelstapler"), frozenset({1, 2}), ((1, 2, 3),) * 3, None)


def test_the_node_works_and_says_what_it_does_without(
    make_node: MakeNode, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    node = make_node(model=str(write_tiny_bundle(tmp_path / "own", labels=LABELS)))
    assert node.trigger_configure() == SUCCESS
    assert "none of its classes is the road: no second look at the road's far end" in capfd.readouterr().err
    assert node._tuning is not None
    perception = node._tuning.perception
    image = np.empty((96, 128, 3), np.uint8)
    image[:] = tiny_colors(LABELS)["floor"]
    image[40:72, 40:80] = RED
    result = perception.infer(Frame(image, camera="front"))
    assert result.horizon is None
    assert result.unknown_instances is not None
    assert [item.on_road for item in result.instances] == [None]
    assert np.array_equal(result.unknown_instances[42:70, 42:78], np.ones((28, 36)))
