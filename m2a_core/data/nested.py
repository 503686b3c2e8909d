"""Which files a folder stands for: its own, or where it has none those of the folders below it, such as sequences.

A folder that has some is read alone: what lies below it is often masks or results.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from m2a_core.files import result_stem
from m2a_core.types import Output

OVERLAY_ENDING = "_overlay.jpg"
"""Of the pictures that ``m2a predict`` writes beside its results; a folder below with one of them is left out."""
_MAPS = tuple(f"_{output.value}.png" for output in Output)
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

    Results of ``m2a predict`` beside their images are left out, too.

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
    stems = [result_stem(path.relative_to(folder)) for path in (*own, *below)]
    images = _without_results(own, stems)
    said = [f"{folder}: {len(own) - len(images)} results of m2a predict in it are left out"] if images != own else []
    if not below:
        return FolderFiles(folder, tuple(images), "".join(said))
    places = _shown(list(dict.fromkeys(str(path.parent.relative_to(folder)) for path in below)))
    if images:
        note = f"{folder}: has images itself, so {len(below)} in the folders below it are left out: {places}"
        return FolderFiles(folder, tuple(images), "; ".join([note, *said]))
    note = f"{folder}: {len(below)} images from the folders below it: {places}"
    if results:
        note += f"; left out as results of m2a predict: {_shown(results)}"
    return FolderFiles(folder, tuple(below), "; ".join([note, *said]))


def _without_results(own: list[Path], stems: list[str]) -> list[Path]:
    """The files of a folder that are no results, which ``m2a predict`` wrote beside the images, named by ``stems``.

    It always writes an overlay: only beside one is a name such as that of a map the name of a result.
    """
    names = {path.name for path in own}
    predicted = [stem for stem in stems if f"{stem}{OVERLAY_ENDING}" in names]
    results = {f"{stem}{ending}" for stem in predicted for ending in (OVERLAY_ENDING, *_MAPS)}
    return [path for path in own if path.name not in results]


def _fitting(folder: Path, names: list[str], suffixes: tuple[str, ...]) -> list[Path]:
    found = (folder / name for name in sorted(names) if not name.startswith("."))
    return [path for path in found if path.suffix.lower() in suffixes]


def _same(path: Path, out: Path | None) -> bool:
    return out is not None and path.resolve() == out.resolve()


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
