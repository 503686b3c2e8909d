"""docs/architecture.md shows the code as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^\s+(\w+)\["([\w/.]+\.py)', PAGE, re.M))
ARROWS = re.findall(r"^\s+(\w+) --> (\w+)$", PAGE, re.M)


def imported_by(path: str) -> set[str]:
    """Files of our own that a file imports."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                place = Path(*name.split("."))
                found |= {str(p) for p in (place.with_suffix(".py"), place / "__init__.py") if (ROOT / p).is_file()}
    # A package's own names come from the module that its __init__ takes them from.
    return found | {other for f in found if f.endswith("__init__.py") for other in imported_by(f)}


def test_every_file_of_the_diagram_exists_and_there_are_few() -> None:
    assert len(FILES) <= 15
    assert [path for path in FILES.values() if not (ROOT / path).is_file()] == []


@pytest.mark.slow
def test_every_arrow_is_an_import_and_none_points_back() -> None:
    imports = {
        (name, other) for name, path in FILES.items() for other, place in FILES.items() if place in imported_by(path)
    }
    assert set(ARROWS) - imports == set()
    assert {(b, a) for a, b in ARROWS} & imports == set()
    assert {name for arrow in ARROWS for name in arrow} == set(FILES)


def test_every_room_is_on_the_page() -> None:
    rooms = {
        path.name
        for package in ("m2a_core", "m2a_ros")
        for path in (ROOT / package).iterdir()
        if path.is_dir() and (path / "__init__.py").is_file() and path.name != "cli"
    }
    assert {room for room in rooms if f"`{room}/`" not in PAGE} == set()


def test_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`(m2a_(?:core|ros)/[\w/.]+\.py)`", PAGE))
    assert named
    assert {path for path in named if not (ROOT / path).is_file()} == set()
