"""Label sets as files, so that a data set's own classes need no code.

YAML::

    name: own3                # default: the file's name without its ending
    classes:                  # in the order of the model's class ids
      - {name: road, id: 7, color: [128, 64, 128], thing: false}
      - {name: car, id: 26, color: [0, 0, 142], thing: true}
      - {name: sky, id: 23}   # a colour of its own, no thing
      - {name: cycle, from: [bicycle, 32], thing: true}  # several classes of the annotations, by name or id
    void: [255, 0]            # one value or several of pixels that do not count, by name or id; default: 255
    road: road                # what objects stand on (Eq. 15 keeps it); default: the class called road; null: none

``id`` is the value in label maps. With ``from``, a class is all of those values and names, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import ConfigError, shown
from m2a_core.labels.label_map import VOID, LabelValues
from m2a_core.labels.label_set import LabelSet, require_name
from m2a_core.labels.palette import voc_color
from m2a_core.yaml_file import read_yaml

_KEYS = {"name", "classes", "void", "road"}
_CLASS_KEYS = {"name", "id", "color", "thing", "from"}
_ROAD = "road"
_LARGEST = 2**24 - 1

Source = int | str
"""A class of the annotations: a value in label maps, or a name."""


@dataclass(frozen=True)
class LabelFile:
    """A label set and what stands for its classes in annotations; ids are those of the label set.

    Attributes:
        path: the file.
        labels: the classes.
        sources: per class, the values and names that are its own.
        listed: per class, whether ``from`` says so: then its name is not one of them.
        void: values and names of what does not count.
    """

    path: Path
    labels: LabelSet
    sources: tuple[tuple[Source, ...], ...]
    listed: tuple[bool, ...]
    void: frozenset[Source] = field(default_factory=lambda: frozenset({VOID}))

    @property
    def values(self) -> LabelValues:
        """What label maps hold that know no names; raises `ConfigError` where a class has no value."""
        return self.values_of({})

    def values_of(self, vocabulary: Mapping[str, int]) -> LabelValues:
        """What label maps hold.

        Args:
            vocabulary: name of a class of the annotations -> its value; empty where they know no names.

        Raises:
            ConfigError: a class has neither a value nor a name of the vocabulary, or two classes share a value.
        """
        known = {name.casefold(): value for name, value in vocabulary.items()}
        ids: dict[int, int] = {}
        for class_id, (name, sources) in enumerate(zip(self.labels.names, self.sources, strict=True)):
            for value in [self._value(s, known, f"class '{name}'") for s in sources or (name,)]:
                if value in ids:
                    raise ConfigError(
                        f"{self.path}: classes '{self.labels.names[ids[value]]}' and '{name}' both take the value "
                        f"{value}; leave it out of one of them"
                    )
                ids[value] = class_id
        void = frozenset(self._value(source, known, "void") for source in self.void)
        both = sorted(void & ids.keys())
        if both:
            raise ConfigError(
                f"{self.path}: {both[0]}, a value of class '{self.labels.names[ids[both[0]]]}', is also void; leave it "
                "out of one of them"
            )
        return LabelValues(ids, void)

    def by_name(self) -> dict[Source, int]:
        """Name (in lower case) or number of a class of the annotations -> id, or 255 = void."""
        found: dict[Source, int] = dict.fromkeys(
            (_folded(source) for source in self.void if isinstance(source, str)), VOID
        )
        for class_id, (name, sources) in enumerate(zip(self.labels.names, self.sources, strict=True)):
            own = sources if self.listed[class_id] else (name,)
            found.update(dict.fromkeys(map(_folded, own), class_id))
        return found

    def _value(self, source: Source, known: Mapping[str, int], what: str) -> int:
        if isinstance(source, int):
            return source
        if source.casefold() in known:
            return known[source.casefold()]
        if not known:
            raise ConfigError(
                f"{self.path}: {what} has the name '{source}' and no id; label maps hold ids: give 'id', or ids "
                "in 'from'"
            )
        raise ConfigError(
            f"{self.path}: {what}: the annotations have no class '{source}'; they have {', '.join(known)}"
        )


def _folded(source: Source) -> Source:
    return source.strip().casefold() if isinstance(source, str) else source


def read_label_file(path: Path, name: str = "") -> LabelFile:
    """Read a label set.

    Args:
        path: see the module.
        name: of a set whose file gives it none; default: the file's name without its ending.

    Raises:
        ConfigError: the file cannot be read, has an unknown or no needed key, two classes of one name or id, a class
            whose id is void, or no class at all.
    """
    try:
        content = read_yaml(path)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable YAML file ({error})") from error
    content = _mapping(content, _KEYS, {"classes"}, f"{path}")
    entries = content["classes"]
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: 'classes' is {entries!r:.80}; expected a list of at least one class")
    entries = [_mapping(entry, _CLASS_KEYS, {"name"}, f"{path}: class {i + 1}") for i, entry in enumerate(entries)]
    names = [_name(entry["name"], f"{path}: class {i + 1}") for i, entry in enumerate(entries)]
    sources = [_sources(entry, f"class '{name}'", path) for name, entry in zip(names, entries, strict=True)]
    void = content.get("void", VOID)
    unlabelled = frozenset(_source(value, f"{path}: void") for value in (void if isinstance(void, list) else [void]))
    _require_unique(path, names, sources, unlabelled)
    road = content.get("road", _ROAD if _ROAD in names else None)
    if road is not None and road not in names:
        raise ConfigError(f"{path}: road is {shown(road)}; expected one of {', '.join(names)}")
    labels = LabelSet(
        name=_name(content.get("name", name or path.stem), f"{path}"),
        names=tuple(names),
        things=frozenset(i for i, entry in enumerate(entries) if _thing(entry, f"{path}: class '{names[i]}'")),
        colors=tuple(_color(entry, i, f"{path}: class '{names[i]}'") for i, entry in enumerate(entries)),
        road=None if road is None else names.index(road),
    )
    listed = tuple("from" in entry for entry in entries)
    return LabelFile(path, labels, tuple(sources), listed, unlabelled)


def _require_unique(
    path: Path, names: list[str], sources: list[tuple[Source, ...]], unlabelled: frozenset[Source]
) -> None:
    # Annotations and weights are matched to classes in any case.
    folded = [_folded(name) for name in names]
    twice = [name for name, key in zip(names, folded, strict=True) if folded.count(key) > 1]
    if twice:
        raise ConfigError(
            f"{path}: two classes have the name {' and '.join(dict.fromkeys(twice))}; each needs its own, in any case"
        )
    owners: dict[Source, str] = {}
    for name, own in zip(names, sources, strict=True):
        for source in map(_folded, own):
            what = "id" if isinstance(source, int) else "name"
            if source in owners:
                raise ConfigError(
                    f"{path}: two classes have the {what} {source}: '{owners[source]}' and '{name}'; each needs its own"
                )
            if source in {_folded(value) for value in unlabelled}:
                raise ConfigError(f"{path}: the {what} of class '{name}' is also void; leave it out of one of them")
            owners[source] = name


def _sources(entry: dict[str, Any], what: str, path: Path) -> tuple[Source, ...]:
    if "from" not in entry:
        return (_integer(entry["id"], f"{path}: id of {what}"),) if "id" in entry else ()
    listed = entry["from"] if isinstance(entry["from"], list) else [entry["from"]]
    if not listed:
        raise ConfigError(f"{path}: {what}: 'from' is empty; expected names or ids of the annotations' classes")
    return tuple(_source(value, f"{path}: {what}: from") for value in listed)


def _source(value: Any, where: str) -> Source:
    if isinstance(value, str) and value.strip():
        return value
    return _integer(value, where)


def _mapping(value: Any, known: set[str], needed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: got {shown(value)}; expected keys {', '.join(sorted(known))}")
    strange, absent = sorted(map(str, value.keys() - known)), sorted(needed - value.keys())
    if strange:
        raise ConfigError(f"{where}: unknown key '{strange[0]}'; expected some of {', '.join(sorted(known))}")
    if absent:
        raise ConfigError(f"{where}: no '{absent[0]}'")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(
            f"{where}: name is {shown(value)}; expected text (YAML needs quotes around yes, no and numbers)"
        )
    require_name(value, where)
    return value


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{where} is {shown(value)}; expected an integer")
    if not -1 <= value <= _LARGEST:
        raise ConfigError(f"{where} is {value}; expected -1 to {_LARGEST}")
    return value


def _thing(entry: dict[str, Any], where: str) -> bool:
    thing = entry.get("thing", False)
    if not isinstance(thing, bool):
        raise ConfigError(f"{where}: thing is {shown(thing)}; expected true or false")
    return thing


def _color(entry: dict[str, Any], index: int, where: str) -> tuple[int, int, int]:
    if "color" not in entry:
        return voc_color(index + 1)
    color = entry["color"]
    good = isinstance(color, list) and len(color) == 3
    if not good or not all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in color):
        raise ConfigError(f"{where}: color is {shown(color)}; expected [red, green, blue] of 0..255")
    return color[0], color[1], color[2]
