"""The commands that install what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from m2a_core.extras import install_command


def test_the_shell_s_pip_is_named_where_it_installs_for_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert install_command("train").startswith("pip install ")


@pytest.mark.parametrize("pip", [True, False], ids=["pip of another Python", "no pip"])
def test_else_the_command_names_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: bool):
    if pip:
        (tmp_path / "pip").write_text("#!/bin/sh\n")
        (tmp_path / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/a venv/bin/python")
    assert install_command("train").startswith("'/a venv/bin/python' -m pip install ")
