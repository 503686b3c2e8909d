"""The label sets that m2a knows: files of the same form as anybody's own, in ``sets/``."""

from __future__ import annotations

from pathlib import Path

from m2a_core.labels.label_file import read_label_file
from m2a_core.labels.label_set import LabelSet


def builtin(name: str) -> LabelSet:
    """The label set of ``sets/NAME.yaml``."""
    return read_label_file(Path(__file__).with_name("sets") / f"{name}.yaml").labels


CAMVID11 = builtin("camvid11")
CITYSCAPES19 = builtin("cityscapes19")
STREETHAZARDS12 = builtin("streethazards12")
