"""The documentation builds as a site, without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from test.packaging.conftest import ROOT

pytest.importorskip("mkdocs")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "m2a replay compare" in commands
    parameters = (tmp_path / "reference" / "parameters" / "index.html").read_text(encoding="utf-8")
    assert "output.resolution" in parameters
    topics = (tmp_path / "reference" / "topics" / "index.html").read_text(encoding="utf-8")
    assert "unknown_markers" in topics
    python = (tmp_path / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert "unknown_instances" in python
