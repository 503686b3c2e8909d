"""The documentation builds as a site, without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.packaging.conftest import ROOT

pytest.importorskip("mkdocs")


PAGES = {
    "index": [">m2a: open-set perception for vehicles"],
    "overview": [">Documentation"],
    "reference/commands": ["m2a replay compare"],
    "reference/parameters": ["output.resolution", "<code>true</code>", '<code>"m2a-edge"</code>'],
    "reference/topics": ["unknown_markers"],
    "reference/python": ["unknown_instances", "m2a_core.api.Model.__call__", "TrackedObject.location"],
}
"""Pages that are made from the README and from the code, and what must be on them."""


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path):
    # With --quiet, --strict sees no warnings.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    pages = {page: (tmp_path / f"{page}.html").read_text(encoding="utf-8") for page in PAGES}
    for page, words in PAGES.items():
        assert [word for word in words if word not in pages[page]] == [], page
    # From a disk, a link to a folder shows its list of files.
    assert 'href="node.html"' in pages["index"]
