"""Tests reach what they test by public names; ruff (SLF001) sees attributes, this sees imports and names in strings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mutation import ROOMS
from test.packaging.conftest import ROOT

BY_NAME = {"setattr", "getattr", "delattr", "hasattr", "object"}
"""Functions, and methods of pytest's and unittest's patches, that take an attribute's name."""


def is_private(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__") and last.isidentifier()


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if called in BY_NAME:
                yield from ((node.lineno, text) for text in texts if is_private(text))


@pytest.mark.parametrize(
    "source",
    ["from a.b import _c", "monkeypatch.setattr(a, '_b', 1)", "monkeypatch.setattr('a.b._c', 1)", "getattr(a, '_b')"],
)
def test_private_names_are_found(source: str) -> None:
    assert len(list(private_names(ast.parse(source)))) == 1


@pytest.mark.slow
def test_no_test_imports_or_replaces_a_private_name() -> None:
    files: list[Path] = sorted((ROOT / "test").rglob("*.py"))
    assert len(files) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files
        for line, name in private_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_every_room_of_the_mutation_run_has_its_code_and_its_tests() -> None:
    for name, room in ROOMS.items():
        assert all(list(ROOT.glob(pattern)) for pattern in room.code), name
        assert all((ROOT / path).exists() for path in room.tests), name
