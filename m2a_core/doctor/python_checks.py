"""Python and its packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from m2a_core.doctor.findings import Finding, Level

SUPPORTED = ((3, 10), (3, 13))
"""Oldest and newest minor version; setup.py refuses older ones."""
PROJECT = "m2a_ros"
_TWINS = (
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
)
"""Distributions that install the same package over one another."""
_MODULES = {"Jinja2": "jinja2", "opencv-python-headless": "cv2", "Pillow": "PIL", "PyYAML": "yaml"}
"""What to import where that is not the distribution's name."""


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    version, machine = platform.python_version(), platform.machine()
    fits = SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]
    oldest, newest = (".".join(map(str, v)) for v in SUPPORTED)
    yield Finding(
        "Python",
        Level.OK if fits else Level.WARNING,
        f"{version} on {machine}",
        "" if fits else f"m2a is tested with Python {oldest} to {newest}: make PYTHON=python{oldest}",
    )


def check_packages() -> Iterator[Finding]:
    """What m2a requires, installed and new enough; packages that overwrite each other."""
    try:
        required = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "m2a", Level.WARNING, "not installed, run from its folder", "pip install -e . in the clone, or make setup"
        )
        return
    yield Finding("m2a", Level.OK, importlib.metadata.version(PROJECT))
    for requirement in required:
        if "extra ==" not in requirement:
            yield from fits(requirement)
    yield from twins({distribution.metadata["Name"] for distribution in importlib.metadata.distributions()})


def fits(requirement: str, modules: Mapping[str, str] = _MODULES) -> Iterator[Finding]:
    """Whether what a requirement names is installed, and new enough.

    Args:
        requirement: `NAME` or `NAME>=VERSION`, as in package metadata.
        modules: what to import where that is not NAME.
    """
    match = re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", requirement)
    if match is None:
        return
    name, least = match.groups()
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        module = modules.get(name, name)
        if importlib.util.find_spec(module) is None:
            yield Finding(name, Level.ERROR, "missing", f"python -m pip install '{requirement}'")
        else:  # a distribution's package, which pip does not know: its own dependencies fit each other
            yield Finding(name, Level.OK, f"the system's {module}, unknown to pip")
        return
    if least and _numbers(found) < _numbers(least):
        yield Finding(name, Level.ERROR, f"{found}, needs {least} or newer", f"python -m pip install '{requirement}'")


def twins(installed: Iterable[str | None]) -> Iterator[Finding]:
    """Packages of which only one may be installed.

    Args:
        installed: names of the installed distributions.
    """
    names = {name.lower().replace("_", "-") for name in installed if name}
    for group in _TWINS:
        found = [name for name in group if name in names]
        if len(found) > 1:
            yield Finding(
                found[0],
                Level.WARNING,
                f"{' and '.join(found)} are installed; they overwrite each other's files",
                f"python -m pip uninstall -y {' '.join(found)}; then install the one that you need",
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
