"""The Makefile says what is missing instead of failing somewhere inside pip."""

import subprocess

import pytest

from test.packaging.conftest import ROOT, clean_environment


def fake_python(tmp_path, body):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('case "$2" in *ensurepip*) exit 1 ;; esac', "sudo apt-get install -y python3-venv"),
        ('case "$2" in *version_info*) exit 1 ;; esac', "Python 3.10 to 3.13"),
    ],
    ids=["venv module missing", "unsupported Python"],
)
def test_unfit_python_is_named_with_what_to_do(tmp_path, body, expected):
    done = subprocess.run(
        ["make", "setup", f"PYTHON={fake_python(tmp_path, body)}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert expected in done.stderr
    assert not (tmp_path / "venv").exists()


def test_help_lists_every_phony_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = (line.split()[1:] for line in text.splitlines() if line.startswith(".PHONY"))
    shown = subprocess.run(["make"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in shown.stdout.splitlines()} == set(phony)
