"""Class ids, names, colours and the split into things and stuff."""

from __future__ import annotations

from dataclasses import dataclass

from m2a_core.errors import ConfigError

UNKNOWN_NAME = "unknown"
UNKNOWN_COLOR = (255, 64, 0)


@dataclass(frozen=True)
class LabelSet:
    """The known classes of a model; class id = position.

    Attributes:
        name: name of the set, e.g. ``camvid11``.
        names: one name per class.
        things: ids of countable classes; all others are stuff.
        colors: RGB per class, 0..255.
        road: id of the class that objects stand on (Eq. 15 keeps it), or None.

    Raises:
        ConfigError: lengths differ, a name repeats, or an id is outside the set.
    """

    name: str
    names: tuple[str, ...]
    things: frozenset[int]
    colors: tuple[tuple[int, int, int], ...]
    road: int | None

    def __post_init__(self) -> None:
        """Validate."""
        k = len(self.names)
        if not 1 <= k <= 254 or len(self.colors) != k or len(set(self.names)) != k:
            raise ConfigError(
                f"label set '{self.name}': needs 1..254 distinct names with one colour each, "
                f"got {k} names and {len(self.colors)} colours"
            )
        bad = [i for i in (*self.things, *(() if self.road is None else (self.road,))) if not 0 <= i < k]
        if bad:
            raise ConfigError(f"label set '{self.name}': class ids {bad} are outside 0..{k - 1}")

    @property
    def num_classes(self) -> int:
        """K, without the unknown."""
        return len(self.names)

    @property
    def unknown_id(self) -> int:
        """Id of unknown objects in open-set masks: the first id after the known classes."""
        return len(self.names)

    @property
    def stuff(self) -> frozenset[int]:
        """Ids of the classes that are not things."""
        return frozenset(range(self.num_classes)) - self.things


CAMVID11 = LabelSet(
    name="camvid11",
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    things=frozenset({8, 9, 10}),
    colors=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
    road=3,
)  # fmt: skip

CITYSCAPES19 = LabelSet(
    name="cityscapes19",
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    things=frozenset(range(11, 19)),
    colors=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
    road=0,
)  # fmt: skip

STREETHAZARDS12 = LabelSet(
    name="streethazards12",
    names=(
        "background", "building", "fence", "pedestrian", "pole", "road line", "road", "sidewalk", "vegetation", "car",
        "wall", "traffic sign",
    ),
    things=frozenset({3, 9}),
    colors=(
        (0, 0, 0), (70, 70, 70), (190, 153, 153), (220, 20, 60), (153, 153, 153), (157, 234, 50), (128, 64, 128),
        (244, 35, 232), (107, 142, 35), (0, 0, 142), (102, 102, 156), (220, 220, 0),
    ),
    road=6,
)  # fmt: skip
"""Classes in the order that the released Mask2Anomaly code registers them; "other" is not trained."""
