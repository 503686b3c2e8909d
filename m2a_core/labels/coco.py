"""COCO panoptic classes, and their known/unknown splits for open-set panoptic segmentation (Sec. 7.1).

Class order: the 80 things by COCO id, then the 53 stuff classes, as detectron2 numbers them.
"""

from __future__ import annotations

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import builtin
from m2a_core.labels.label_set import LabelSet

COCO_PANOPTIC133 = builtin("coco_panoptic133")

_REMOVED_AT = {
    5: ("car", "cow", "pizza", "toilet"),
    10: ("boat", "tie", "zebra", "stop sign"),
    20: ("dining table", "banana", "bicycle", "cake", "sink", "cat", "keyboard", "bear"),
}


def _without(name: str, removed: frozenset[str]) -> LabelSet:
    """COCO's classes without some, in their order."""
    everything = COCO_PANOPTIC133
    kept = [i for i, label in enumerate(everything.names) if label not in removed]
    names = tuple(everything.names[i] for i in kept)
    return LabelSet(
        name=name,
        names=names,
        things=frozenset(new for new, old in enumerate(kept) if old in everything.things),
        colors=tuple(everything.colors[i] for i in kept),
        road=names.index("road"),
    )


def coco_unknown_classes(percent: int) -> frozenset[str]:
    """Thing classes that are unknown in a split; every split contains the smaller ones.

    Args:
        percent: K of Sec. 7.1: 5, 10 or 20.

    Raises:
        ConfigError: the paper has no such split.
    """
    if percent not in _REMOVED_AT:
        raise ConfigError(f"COCO open-set split: expected 5, 10 or 20 percent, got {percent}")
    return frozenset(name for k, names in _REMOVED_AT.items() if k <= percent for name in names)


def coco_known(percent: int) -> LabelSet:
    """The known classes of a split, in COCO's order without the unknown ones.

    Raises:
        ConfigError: the paper has no such split.
    """
    return _without(f"coco_panoptic_k{percent:02d}", coco_unknown_classes(percent))
