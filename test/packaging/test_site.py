"""The documentation builds as a site, without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.packaging.conftest import ROOT

pytest.importorskip("mkdocs")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path):
    # With --quiet, --strict sees no warnings.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    home, overview = ((tmp_path / page / "index.html").read_text(encoding="utf-8") for page in ("", "overview"))
    assert ">m2a: open-set perception for vehicles" in home
    assert ">Documentation" in overview
    commands = (tmp_path / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "m2a replay compare" in commands
    parameters = (tmp_path / "reference" / "parameters" / "index.html").read_text(encoding="utf-8")
    assert "output.resolution" in parameters
    topics = (tmp_path / "reference" / "topics" / "index.html").read_text(encoding="utf-8")
    assert "unknown_markers" in topics
    python = (tmp_path / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert "unknown_instances" in python
