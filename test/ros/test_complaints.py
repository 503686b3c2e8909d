"""The table of complaints in ``docs/node.md`` names tests and benchmarks that exist."""

from __future__ import annotations

import re

from test.ros.harness import ROOT

TESTS = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
SCRIPTS = re.compile(r"`(benchmarks/\w+\.py)")


def test_every_complaint_has_a_test_that_exists() -> None:
    manual = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    section = manual.partition("\n## What users complain of")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 15
    named = TESTS.findall(section)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "test" / "ros" / file).read_text(encoding="utf-8")
    ]
    assert missing == []
    assert [script for script in SCRIPTS.findall(section) if not (ROOT / script).is_file()] == []
    untested = [row for row in rows if not TESTS.search(row) and not row.endswith("| none |")]
    assert untested == []
