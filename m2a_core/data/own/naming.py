"""From the categories of annotations to classes, by name or number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from m2a_core.errors import DataError
from m2a_core.labels.label_file import LabelFile


class Categories:
    """Looks categories up; one that no class takes and that is not void is an error."""

    def __init__(self, file: LabelFile, annotations: Path) -> None:
        """Take the classes, and the file that names categories, for messages."""
        self.file, self.annotations = file, annotations
        self.known = file.by_name()

    def of(self, name: str, number: object = None) -> int:
        """Class id of a category, or 255 = void.

        Raises:
            DataError: no class takes it.
        """
        key = name.strip().casefold()
        if isinstance(number, int) and number in self.known:
            return self.known[number]
        if key in self.known:
            return self.known[key]
        raise DataError(
            f"{self.annotations}: the category '{name}' is of no class in {self.file.path.name}; give it one (its "
            "name, or in 'from'), or list it there under void"
        )


def require_different_names(names: Mapping[int, str], path: Path) -> None:
    """Raise `DataError` where two categories of a file have one name, in any case: one of them is mistaken."""
    owners: dict[str, int] = {}
    for number, name in names.items():
        other = owners.setdefault(name.strip().casefold(), number)
        if other != number:
            raise DataError(f"{path}: the categories {other} and {number} are both called '{name}'; each needs its own")
