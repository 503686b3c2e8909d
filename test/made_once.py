"""Folders that take long to make: one worker of a run makes them, all read them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder, which ``make`` fills where no other worker has; tests must not change it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / f"once-{name}"
    with FileLock(base / f"once-{name}.lock"):
        if not folder.exists():
            made = Path(tempfile.mkdtemp(dir=base))
            make(made)
            made.rename(folder)
    return folder
