"""How to install what an optional part of m2a needs."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

PROJECT = "m2a_ros"


def install_command(extra: str) -> str:
    """The command that installs an extra; m2a is on no package index, so it is installed from where it came from.

    Args:
        extra: of setup.cfg, such as ``train``.
    """
    source, editable = _source()
    if source is None:
        return f"{pip_install()} '.[{extra}]' in the clone of m2a"
    return f"{pip_install()} {'-e ' if editable else ''}'{source}[{extra}]'"


def pip_install() -> str:
    """``pip install``, by the Python that runs where the shell's own pip belongs to another one."""
    found = shutil.which("pip")
    ours = found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    return "pip install" if ours else f"{shlex.quote(sys.executable)} -m pip install"


def _source() -> tuple[Path | None, bool]:
    """The folder that pip installed m2a from, and whether in place (PEP 610)."""
    # Takes longer to import than all of this room, and is needed for messages alone.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution(PROJECT).read_text("direct_url.json")
        origin = json.loads(text or "{}")
        folder = Path(unquote(urlparse(origin["url"]).path))
        editable = bool(origin["dir_info"].get("editable"))
    except (PackageNotFoundError, ValueError, KeyError, AttributeError, TypeError):
        return None, False
    return (folder, editable) if (folder / "setup.cfg").is_file() else (None, False)
