"""The promises of docs/reliability.md name tests that exist."""

from __future__ import annotations

import ast
import re
from itertools import takewhile

from test.packaging.conftest import ROOT

NAMED = re.compile(r"`(test/[\w/]+\.py)::(test_\w+)`")


def promises() -> list[str]:
    """Rows of the first table."""
    lines = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    first = lines.index("| promise | tests |") + 2
    return list(takewhile(lambda line: line.startswith("|"), lines[first:]))


def test_every_promise_is_held_by_tests_that_exist() -> None:
    rows = promises()
    assert len(rows) >= 10
    for row in rows:
        named = NAMED.findall(row)
        assert named, f"no test holds this promise: {row}"
        for file, name in named:
            functions = {
                node.name
                for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
                if isinstance(node, ast.FunctionDef)
            }
            assert name in functions, f"{file} has no {name}"
