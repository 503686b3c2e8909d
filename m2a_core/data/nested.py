"""Which files a folder stands for: its own, or where it has none those of the folders below it, such as sequences.

A folder that has some is read alone: what lies below it is often masks or results.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from m2a_core.files import result_stem

OVERLAY_ENDING = "_overlay.jpg"
"""Of the pictures that ``m2a predict`` writes beside its results; a folder below with one of them is left out."""
_SHOWN = 5


@dataclass(frozen=True)
class FolderFiles:
    """Files of a folder.

    Attributes:
        folder: the folder.
        files: in order.
        note: what a user must know of the folders below; "" for nothing.
    """

    folder: Path
    files: tuple[Path, ...]
    note: str

    def stem(self, path: Path) -> str:
        """Name of a file's results."""
        return result_stem(path.relative_to(self.folder))


def folder_files(folder: Path, suffixes: tuple[str, ...], out: Path | None = None) -> FolderFiles:
    """List the files of a folder with certain endings, in any case; hidden ones are left out, links are not followed.

    Args:
        folder: the folder.
        suffixes: the endings.
        out: folder that results are written to; nothing below it counts.
    """
    own = _fitting(folder, [path.name for path in folder.iterdir() if not path.is_dir()], suffixes)
    below: list[Path] = []
    results: list[str] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _same(here / name, out))
        if here != folder and any(name.endswith(OVERLAY_ENDING) for name in names):
            results.append(str(here.relative_to(folder)))
            folders.clear()
        elif here != folder:
            below += _fitting(here, names, suffixes)
    if not below:
        return FolderFiles(folder, tuple(own), "")
    places = _shown(list(dict.fromkeys(str(path.parent.relative_to(folder)) for path in below)))
    if own:
        note = f"{folder}: has images itself, so {len(below)} in the folders below it are left out: {places}"
        return FolderFiles(folder, tuple(own), note)
    note = f"{folder}: {len(below)} images from the folders below it: {places}"
    if results:
        note += f"; left out as results of m2a predict: {_shown(results)}"
    return FolderFiles(folder, tuple(below), note)


def _fitting(folder: Path, names: list[str], suffixes: tuple[str, ...]) -> list[Path]:
    found = (folder / name for name in sorted(names) if not name.startswith("."))
    return [path for path in found if path.suffix.lower() in suffixes]


def _same(path: Path, out: Path | None) -> bool:
    return out is not None and path.resolve() == out.resolve()


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
