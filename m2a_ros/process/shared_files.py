"""Files that ship with the package: in a checkout beside it, in an installation under ``share/m2a_ros``."""

from __future__ import annotations

import sys
from pathlib import Path

from m2a_core.errors import ConfigError


def shared_file(relative: str) -> Path:
    """Path of a shipped file.

    Args:
        relative: such as ``config/m2a.param.yaml``.

    Raises:
        ConfigError: it is not there.
    """
    package = Path(__file__).resolve().parents[1]
    # site-packages lies 3 levels below the prefix for both pip (lib/python3.x/site-packages) and colcon.
    installed = [prefix / "share" / "m2a_ros" for prefix in dict.fromkeys((Path(sys.prefix), *package.parents[1:5]))]
    places = (package.parent, *installed)
    for place in places:
        if (place / relative).is_file():
            return place / relative
    raise ConfigError(f"{relative}: not found in {', '.join(map(str, places))}; install the package again")
