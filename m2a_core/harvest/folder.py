"""The folder of a finished harvest: ``harvest.json`` says what ``objects.parquet`` is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core import __version__
from m2a_core.errors import DataError
from m2a_core.files import read_json, relative_path, write_json
from m2a_core.harvest.records import OBJECTS, ObjectRecord, read_columns, read_records

INFO = "harvest.json"
GALLERY = "gallery.html"
FORMAT = 1


@dataclass(frozen=True)
class Harvest:
    """A finished harvest.

    Attributes:
        folder: where it is.
        hash: what tells it from another; see ``harvest_hash``.
        model: name and ``onnx_sha256`` of the model that found the objects.
        settings: what records, embeddings and clusters depend on.
        info: the rest of ``harvest.json``.
    """

    folder: Path
    hash: str
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    info: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Harvest:
        """Open a folder.

        Raises:
            DataError: it holds no finished harvest, or one of another version of m2a's format.
        """
        path = folder / INFO
        if not path.is_file():
            raise DataError(
                f"{folder}: holds no finished harvest ({INFO} is missing); run m2a harvest RESULTS --out {folder}, "
                "where RESULTS is what m2a replay wrote, or a bag"
            )
        info = read_json(path)
        if not isinstance(info, dict) or info.get("format") != FORMAT:
            raise DataError(f"{path}: expected a harvest of format {FORMAT}; harvest again with this version of m2a")
        if not isinstance(info.get("harvest"), str) or not all(
            isinstance(info.get(k), dict) for k in ("model", "settings")
        ):
            raise DataError(f"{path}: expected the keys harvest, model and settings; harvest again")
        return cls(folder, info["harvest"], info["model"], info["settings"], info)

    @property
    def known_classes(self) -> tuple[str, ...]:
        """Names of the classes that the model knows; empty where ``harvest.json`` does not say."""
        names = self.info.get("labels")
        return tuple(map(str, names)) if isinstance(names, list) else ()

    @property
    def objects(self) -> Path:
        """The file of records."""
        return self.folder / OBJECTS

    def records(self) -> Iterator[ObjectRecord]:
        """The records, by id; see ``read_records``."""
        return read_records(self.objects)

    def clusters(self) -> dict[str, int]:
        """Id of every record -> its cluster."""
        return {row["id"]: row["cluster"] for batch in read_columns(self.objects, ("id", "cluster")) for row in batch}

    def path(self, relative: str) -> Path:
        """A file of a record, such as its ``crop``.

        Raises:
            DataError: the path leads out of the folder, also by a link.
        """
        path = self.folder / relative_path(relative, self.objects)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.objects}: {relative} leads out of {self.folder}")
        return path


def write_info(folder: Path, harvest: str, model: Mapping[str, Any], settings: Mapping[str, Any], **more: Any) -> None:
    """Write ``harvest.json``, which makes a harvest finished.

    Args:
        folder: the harvest's.
        harvest: its ``harvest_hash``.
        model: name and ``onnx_sha256`` of the model that found the objects.
        settings: what records, embeddings and clusters depend on.
        more: JSON values for people.
    """
    write_json(
        folder / INFO,
        {
            "format": FORMAT,
            "m2a": __version__,
            "harvest": harvest,
            "model": dict(model),
            "settings": dict(settings),
            **more,
        },
    )
