"""COCO panoptic classes, and their known/unknown splits for open-set panoptic segmentation (Sec. 7.1).

Class order: the 80 things by COCO id, then the 53 stuff classes, as detectron2 numbers them.
"""

from __future__ import annotations

from m2a_core.errors import ConfigError
from m2a_core.labels.label_set import LabelSet

_THINGS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
_STUFF = (
    "banner", "blanket", "bridge", "cardboard", "counter", "curtain", "door-stuff", "floor-wood", "flower", "fruit",
    "gravel", "house", "light", "mirror-stuff", "net", "pillow", "platform", "playingfield", "railroad", "river",
    "road", "roof", "sand", "sea", "shelf", "snow", "stairs", "tent", "towel", "wall-brick", "wall-stone",
    "wall-tile", "wall-wood", "water-other", "window-blind", "window-other", "tree-merged", "fence-merged",
    "ceiling-merged", "sky-other-merged", "cabinet-merged", "table-merged", "floor-other-merged", "pavement-merged",
    "mountain-merged", "grass-merged", "dirt-merged", "paper-merged", "food-other-merged", "building-other-merged",
    "rock-merged", "wall-other-merged", "rug-merged",
)  # fmt: skip

_REMOVED_AT = {
    5: ("car", "cow", "pizza", "toilet"),
    10: ("boat", "tie", "zebra", "stop sign"),
    20: ("dining table", "banana", "bicycle", "cake", "sink", "cat", "keyboard", "bear"),
}


def voc_color(index: int) -> tuple[int, int, int]:
    """Distinct colours by bit interleaving, as PASCAL VOC numbers them."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


def _label_set(name: str, removed: frozenset[str]) -> LabelSet:
    everything = list(enumerate((*_THINGS, *_STUFF)))
    kept = [(index, label) for index, label in everything if label not in removed]
    return LabelSet(
        name=name,
        names=tuple(label for _, label in kept),
        things=frozenset(i for i, (index, _) in enumerate(kept) if index < len(_THINGS)),
        colors=tuple(voc_color(index + 1) for index, _ in kept),
        road=[label for _, label in kept].index("road"),
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
    return _label_set(f"coco_panoptic_k{percent:02d}", coco_unknown_classes(percent))


COCO_PANOPTIC133 = _label_set("coco_panoptic133", frozenset())
