"""Label sets as files, so that a data set's own classes need no code.

YAML::

    name: own3                # default: the file's name without its ending
    classes:                  # in the order of the model's class ids
      - {name: road, id: 7, color: [128, 64, 128], thing: false}
      - {name: car, id: 26, color: [0, 0, 142], thing: true}
      - {name: sky, id: 23}   # a colour of its own, no thing
    void: [255, 0]            # one value or several of pixels that do not count; default: 255
    road: road                # the class that objects stand on (Eq. 15 keeps it); default: none

``id`` is the value in label maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import ConfigError
from m2a_core.labels.coco import voc_color
from m2a_core.labels.label_map import VOID, LabelValues
from m2a_core.labels.label_set import LabelSet

_KEYS = {"name", "classes", "void", "road"}
_CLASS_KEYS = {"name", "id", "color", "thing"}


@dataclass(frozen=True)
class LabelFile:
    """A label set and the values that stand for its classes in label maps; ids are those of the label set."""

    labels: LabelSet
    values: LabelValues


def read_label_file(path: Path) -> LabelFile:
    """Read a label set.

    Args:
        path: see the module.

    Raises:
        ConfigError: the file cannot be read, has an unknown or no needed key, two classes of one name or id, a class
            whose id is void, or no class at all.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: no readable YAML file ({error})") from error
    content = _mapping(content, _KEYS, {"classes"}, f"{path}")
    entries = content["classes"]
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: 'classes' is {entries!r}; expected a list of at least one class")
    entries = [
        _mapping(entry, _CLASS_KEYS, {"name", "id"}, f"{path}: class {i + 1}") for i, entry in enumerate(entries)
    ]
    names = [_name(entry["name"], f"{path}: class {i + 1}") for i, entry in enumerate(entries)]
    stored = [
        _integer(entry["id"], f"{path}: id of class '{name}'") for name, entry in zip(names, entries, strict=True)
    ]
    void = content.get("void", VOID)
    values = void if isinstance(void, list) else [void]
    unlabelled = frozenset(_integer(value, f"{path}: void") for value in values)
    unique: tuple[tuple[str, list[Any]], ...] = (("name", names), ("id", stored))
    for what, found in unique:
        twice = sorted({str(value) for value in found if found.count(value) > 1})
        if twice:
            raise ConfigError(f"{path}: two classes have the {what} {twice[0]}; each needs its own")
    both = [name for name, value in zip(names, stored, strict=True) if value in unlabelled]
    if both:
        raise ConfigError(f"{path}: the id of class '{both[0]}' is void, too; leave it out of one of them")
    road = content.get("road")
    if road is not None and road not in names:
        raise ConfigError(f"{path}: road is {road!r}; expected one of {', '.join(names)}")
    labels = LabelSet(
        name=_name(content.get("name", path.stem), f"{path}"),
        names=tuple(names),
        things=frozenset(i for i, entry in enumerate(entries) if _thing(entry, f"{path}: class '{names[i]}'")),
        colors=tuple(_color(entry, i, f"{path}: class '{names[i]}'") for i, entry in enumerate(entries)),
        road=None if road is None else names.index(road),
    )
    return LabelFile(labels, LabelValues({value: i for i, value in enumerate(stored)}, unlabelled))


def _mapping(value: Any, known: set[str], needed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: got {value!r}; expected keys {', '.join(sorted(known))}")
    strange, absent = sorted(map(str, value.keys() - known)), sorted(needed - value.keys())
    if strange:
        raise ConfigError(f"{where}: unknown key '{strange[0]}'; expected some of {', '.join(sorted(known))}")
    if absent:
        raise ConfigError(f"{where}: no '{absent[0]}'")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: name is {value!r}; expected text (YAML needs quotes around yes, no and numbers)")
    return value


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{where} is {value!r}; expected an integer")
    return value


def _thing(entry: dict[str, Any], where: str) -> bool:
    thing = entry.get("thing", False)
    if not isinstance(thing, bool):
        raise ConfigError(f"{where}: thing is {thing!r}; expected true or false")
    return thing


def _color(entry: dict[str, Any], index: int, where: str) -> tuple[int, int, int]:
    if "color" not in entry:
        return voc_color(index + 1)
    color = entry["color"]
    good = isinstance(color, list) and len(color) == 3
    if not good or not all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in color):
        raise ConfigError(f"{where}: color is {color!r}; expected [red, green, blue] of 0..255")
    return color[0], color[1], color[2]
