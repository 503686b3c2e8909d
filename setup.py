"""Build script; the metadata is in setup.cfg, the data files are collected here because setup.cfg cannot recurse."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup

PACKAGE = "m2a_ros"
TRAINING_ONLY = (".safetensors", ".safetensors.sha256")
"""Weights to train from: as large as the graphs that run, which they were exported to. They stay in the sources."""
ROOT = Path(__file__).resolve().parent


def data_files() -> list[tuple[str, list[str]]]:
    """List what goes to ``share``: the ament marker, ``package.xml`` and the launch, config and engine trees.

    Returns:
        pairs of install folder and source files, both relative, as ``setuptools`` wants them.
    """
    share = f"share/{PACKAGE}"
    collected = {
        "share/ament_index/resource_index/packages": [f"resource/{PACKAGE}"],
        share: ["package.xml"],
    }
    for tree in ("launch", "config", "engines"):
        for path in sorted((ROOT / tree).rglob("*")):
            relative = path.relative_to(ROOT)
            hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
            if path.is_file() and not hidden and not path.name.endswith(TRAINING_ONLY):
                collected.setdefault(f"{share}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(collected.items())


# python_requires stays out of setup.cfg: colcon cannot read the object that setuptools makes of it there.
setup(data_files=data_files(), python_requires=">=3.10")
