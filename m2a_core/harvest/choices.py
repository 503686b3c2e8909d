"""What a person said of a harvest's clusters and objects: ``choices.json``, as the gallery writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core.errors import DataError, quoted
from m2a_core.files import read_regular
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import ObjectRecord

CHOICES = "choices.json"
FORMAT = 1
OUTLIER, CLASS, FALSE_ALARM, SKIP = "outlier", "class", "false_alarm", "skip"
CLUSTER_KINDS = (OUTLIER, CLASS, FALSE_ALARM)
OBJECT_KINDS = (*CLUSTER_KINDS, SKIP)
MAX_NAME = 64

_MAX_BYTES = 1 << 26
# Names become those of folders and classes: no separators, no dots, no leading dash.
_NAME = re.compile(r"[^\W_](?:[\w -]*\w)?")


@dataclass(frozen=True)
class Choice:
    """What a cluster or an object is.

    Attributes:
        name: of the thing: 1 to 64 letters, digits, ``_``, ``-`` and spaces; empty with kind ``skip``.
        kind: ``outlier``: stays unknown, more of it is wanted for training; ``class``: to become a known class;
            ``false_alarm``: is known; ``skip``, of objects only: does not belong to what its cluster was named.
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Choices:
    """Choices of one harvest.

    Attributes:
        clusters: cluster -> what it is.
        objects: record id -> what it is; goes before its cluster's.
    """

    clusters: Mapping[int, Choice]
    objects: Mapping[str, Choice]

    def of(self, record: ObjectRecord) -> Choice | None:
        """What a record was named; None if it was not named, or was taken out of its cluster."""
        choice = self.objects.get(record.id) or self.objects.get(record.original) or self.clusters.get(record.cluster)
        return None if choice is None or choice.kind == SKIP else choice


def valid_name(text: object) -> bool:
    """Whether a text can name a class and a folder."""
    return isinstance(text, str) and len(text) <= MAX_NAME and bool(_NAME.fullmatch(text))


def read_choices(path: Path, harvest: Harvest) -> Choices:
    """Read the choices that were made in a harvest's gallery.

    Args:
        path: the file.
        harvest: whose choices they must be.

    Raises:
        DataError: the file cannot be read, is no choices file, is of another harvest, or names what is not there.
    """
    try:
        content = json.loads(read_regular(path, _MAX_BYTES))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; choose and save in the gallery: `m2a harvest serve {harvest.folder}`"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as choices of a gallery ({error}); save them again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: expected choices of format {FORMAT}, as the gallery saves them")
    if content.get("harvest") != harvest.hash:
        raise DataError(
            f"{path}: chosen in the gallery of another harvest ({quoted(str(content.get('harvest')))}); that of "
            f"{harvest.folder} is '{harvest.hash}': open its {harvest.folder / 'gallery.html'} and choose there"
        )
    clusters, objects = (_table(content, key, path) for key in ("clusters", "objects"))
    known = harvest.clusters()
    numbers = {str(number): number for number in set(known.values()) if number >= 0}
    for what, table, there in (("cluster", clusters, numbers), ("object", objects, known)):
        missing = sorted(set(table) - set(there))
        if missing:
            raise DataError(f"{path}: {what} {quoted(missing[0])} is not in {harvest.folder}")
    return Choices(
        {numbers[key]: _choice(value, f"{path}: cluster {key}", CLUSTER_KINDS) for key, value in clusters.items()},
        {key: _choice(value, f"{path}: object {key}", OBJECT_KINDS) for key, value in objects.items()},
    )


def _table(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise DataError(f"{path}: expected an object under '{key}'")
    return table


def _choice(value: Any, source: str, kinds: tuple[str, ...]) -> Choice:
    if not isinstance(value, dict) or set(value) != {"name", "kind"}:
        raise DataError(f"{source}: expected the keys name and kind")
    if value["kind"] not in kinds:
        raise DataError(f"{source}: kind {quoted(str(value['kind']))}: expected one of {', '.join(kinds)}")
    if value["kind"] == SKIP:
        return Choice("", SKIP)
    if not valid_name(value["name"]):
        raise DataError(
            f"{source}: name {quoted(str(value['name']))}: expected 1 to {MAX_NAME} letters, digits, "
            "spaces, _ and -, beginning with a letter or digit"
        )
    return Choice(value["name"], value["kind"])
