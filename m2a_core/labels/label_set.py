"""Class ids, names, colours and the split into things and stuff."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from m2a_core.errors import ConfigError, quoted

UNKNOWN_NAME = "unknown"
UNKNOWN_COLOR = (255, 64, 0)

_LONGEST_NAME = 200
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what moves a terminal's cursor, ends a line, or is half a character."""

_LIGHTEST_CHANNEL = 160
"""What the lightest channel of a thing's colour reaches at least where it is drawn over an image."""


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
        ConfigError: lengths differ, a name repeats or is none (see ``require_name``), or an id is outside the set.
    """

    name: str
    names: tuple[str, ...]
    things: frozenset[int]
    colors: tuple[tuple[int, int, int], ...]
    road: int | None

    def __post_init__(self) -> None:
        """Validate."""
        for name in (self.name, *self.names):
            require_name(name, f"label set {quoted(self.name)}")
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
    def drawn_colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class for drawing over images: ``colors``, dark ones of things lightened.

        Cityscapes' colours of car, truck and bus cannot be told apart over a dark vehicle.
        """
        return tuple(_lightened(c) if i in self.things else c for i, c in enumerate(self.colors))

    @property
    def stuff(self) -> frozenset[int]:
        """Ids of the classes that are not things."""
        return frozenset(range(self.num_classes)) - self.things


def require_name(name: str, where: str) -> None:
    """Raise `ConfigError` for a name that could fill a log or forge a line of it."""
    if len(name) > _LONGEST_NAME or any(unicodedata.category(c) in _CONTROLS for c in name):
        raise ConfigError(f"{where}: name {quoted(name)}: expected one line of at most {_LONGEST_NAME} characters")


def _lightened(color: tuple[int, int, int]) -> tuple[int, int, int]:
    if max(color) >= _LIGHTEST_CHANNEL:
        return color
    # Half scaled, which keeps hues apart, half mixed with white, which keeps shades of one hue apart.
    scale = _LIGHTEST_CHANNEL / max(1, *color)
    white = (_LIGHTEST_CHANNEL - max(color)) / (255 - max(color))
    r, g, b = (round((scale * channel + channel + white * (255 - channel)) / 2) for channel in color)
    return r, g, b
