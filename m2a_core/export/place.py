"""Whether a bundle can be written where it is wanted, asked before the work of minutes that goes into it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from m2a_core.errors import ExportError


def require_place(out: Path) -> None:
    """Check that a bundle can be written; folders above it are made.

    Args:
        out: the bundle's directory; its last part is the bundle's name.

    Raises:
        ExportError: the directory has no name that a bundle can have, is a file, or cannot be written.
    """
    name = out.resolve().name
    if not name or not name.isprintable():
        raise ExportError(f"{str(out)!r}: no name for a bundle; name a directory such as engines/my-model")
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out}: is a file; name the bundle's directory")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out if out.is_dir() else out.parent):
            pass
    except OSError as error:
        raise ExportError(f"{out}: cannot write the bundle ({error})") from error
