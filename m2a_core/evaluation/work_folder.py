"""The folder of an evaluation's partial results: it is deleted at the end, so it must be m2a's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from m2a_core.errors import ConfigError

MARK = ".m2a-evaluation"
"""File by which the folder is told from one of the user's."""


def require_own(work: Path) -> None:
    """Check that a run may fill and delete ``work``: it is not there, is empty, or an earlier run made it.

    Raises:
        ConfigError: it is something else.
    """
    if work.is_dir():
        if (work / MARK).is_file() or not any(work.iterdir()):
            return
    elif not work.exists():
        return
    raise ConfigError(
        f"{work}: is taken; partial results would go there and be deleted at the end, and no m2a evaluation made it. "
        "Move it away, or give another --json"
    )


def claim(work: Path) -> None:
    """Make the folder and mark it as m2a's.

    Raises:
        ConfigError: as ``require_own``.
        OSError: it cannot be written.
    """
    require_own(work)
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()


def finish(work: Path) -> None:
    """Remove the partial results once the figures are written."""
    if (work / MARK).is_file():
        shutil.rmtree(work, ignore_errors=True)
