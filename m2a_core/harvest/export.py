"""Named clusters of a harvest as data to train on: outliers, new classes, hard negatives."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import write_json, write_text
from m2a_core.harvest.blur import blurred_classes
from m2a_core.harvest.choices import CLASS, FALSE_ALARM, OUTLIER, Choice, Choices
from m2a_core.harvest.cutout_folder import CutoutFolder
from m2a_core.harvest.dataset_card import dataset_card
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import count_records
from m2a_core.harvest.relabel_set import RelabelSet
from m2a_core.progress import ProgressBar

INFO = "export.json"
CARD = "README.md"
OUTLIERS, HARD_NEGATIVES, CLASSES = "outliers", "hard_negatives", "classes"


@dataclass
class NamedObjects:
    """What became of one name.

    Attributes:
        name: the name.
        kind: one of ``outlier``, ``class``, ``false_alarm``.
        objects: tracked objects of that name, near-duplicates apart.
        duplicates: near-duplicates, which are left out.
        files: cut-outs or annotated objects written.
        bags: bags that they are from.
    """

    name: str
    kind: str
    objects: int = 0
    duplicates: int = 0
    files: int = 0
    bags: set[str] = field(default_factory=set)


def export_harvest(
    harvest: Harvest, choices: Choices, out: Path, blur: Sequence[str] = (), progress: bool = True
) -> list[NamedObjects]:
    """Write what a person named.

    ``out/outliers`` and ``out/hard_negatives`` are folders of cut-outs, ``out/classes`` is a COCO data set,
    ``out/README.md`` the card of it all and ``out/export.json`` the counts. ``out`` appears whole or not at all; an
    earlier export there is replaced.

    Args:
        harvest: the harvest.
        choices: what its objects were named.
        out: the folder.
        blur: what is masked in ``classes``, in the words of ``blurred_classes``.
        progress: show a bar.

    Returns:
        What became of each name, by name.

    Raises:
        ConfigError: ``out`` holds something else than an export, or the model has no class to mask by that name.
        DataError: nothing is named, names contradict each other or a known class, or a file is missing or malformed.
        OSError: something cannot be written.
    """
    _check_names(choices, harvest.known_classes)
    hidden = blurred_classes(blur, harvest.known_classes)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INFO).is_file())):
        raise ConfigError(f"--out {out}: holds something else than an export; name another folder")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        named = _write(harvest, choices, partial, hidden, progress)
        if not named:
            raise DataError(
                f"{harvest.folder}: the choices name none of its objects; name clusters in its gallery and save"
            )
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return named


def _write(harvest: Harvest, choices: Choices, out: Path, hidden: frozenset[int], progress: bool) -> list[NamedObjects]:
    found: dict[str, NamedObjects] = {}
    outliers, negatives = CutoutFolder(out / OUTLIERS), CutoutFolder(out / HARD_NEGATIVES)
    classes = RelabelSet(out / CLASSES, hidden)
    total = count_records(harvest.objects)
    for record in ProgressBar(harvest.records(), total=total, unit="object", desc="export", disable=not progress):
        choice = choices.of(record)
        if choice is None:
            continue
        entry = found.setdefault(choice.name, NamedObjects(choice.name, choice.kind))
        if record.duplicate_of is not None:
            entry.duplicates += 1
            continue
        entry.objects += 1
        entry.bags.add(record.bag)
        if choice.kind == CLASS:
            classes.add(harvest, record, choice.name)
            entry.files += 1
        else:
            folder = outliers if choice.kind == OUTLIER else negatives
            entry.files += folder.add(harvest, record, choice.name)
    named = sorted(found.values(), key=lambda entry: entry.name)
    if named:
        for part in (outliers, negatives, classes):
            part.finish()
        small = outliers.too_small + negatives.too_small
        write_text(out / CARD, dataset_card(harvest, named, classes.images, classes.crops, small))
        write_json(
            out / INFO,
            {
                "format": 1,
                "harvest": harvest.hash,
                "model": dict(harvest.model),
                "too_small": small,
                "names": [{**vars(entry), "bags": sorted(entry.bags)} for entry in named],
            },
        )
    return named


def _check_names(choices: Choices, known: Iterable[str]) -> None:
    """Refuse names that would teach a contradiction."""
    classes = {name.casefold(): name for name in known}
    kinds: dict[str, Choice] = {}
    for choice in (*choices.clusters.values(), *choices.objects.values()):
        other = kinds.setdefault(choice.name.casefold(), choice)
        if choice.name and other != choice:
            raise DataError(
                f"'{other.name}' is named as {other.kind} and '{choice.name}' as {choice.kind}; a name means one thing "
                "in one spelling: rename one of them in the gallery"
            )
        if choice.kind in (OUTLIER, CLASS) and choice.name.casefold() in classes:
            raise DataError(
                f"'{choice.name}' ({choice.kind}) is a class that the model knows; choose {FALSE_ALARM} for what "
                f"really is '{classes[choice.name.casefold()]}', or another name"
            )


def described(named: Iterable[NamedObjects]) -> list[str]:
    """What became of each name, in words."""
    where = {OUTLIER: OUTLIERS, FALSE_ALARM: HARD_NEGATIVES, CLASS: CLASSES}
    return [
        f"{entry.name}: {entry.objects} objects of {len(entry.bags)} bags, {entry.files} in {where[entry.kind]}"
        for entry in named
    ]
