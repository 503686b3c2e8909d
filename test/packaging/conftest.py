"""One copy of the sources with a test model in it, one wheel of that copy, one environment without ROS."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from test.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ("m2a_core", "m2a_ros", "launch", "config", "engines", "resource")
FILES = ("setup.py", "MANIFEST.in", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "LICENSE")


def clean_environment() -> dict[str, str]:
    """The environment of a fresh shell: nothing that the ROS wheels or a virtual environment put into this process."""
    return {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}


def run(*command: object, cwd: Path) -> str:
    """Run a command in a clean environment and return what it printed; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is installed, so that builds leave nothing in the checkout; ``engines/tiny`` is a test model."""
    tree = tmp_path_factory.mktemp("source") / "m2a"
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    for name in INSTALLED:
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    write_tiny_bundle(tree / "engines" / "tiny")
    return tree


@pytest.fixture(scope="session")
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the copied sources, built offline with this environment's setuptools."""
    out = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out, source_tree)
    run(sys.executable, "-m", "pip", *build, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def bare_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of a new environment that holds the wheel and what it requires, and nothing else."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(run(python, "-c", where, cwd=home).strip())
    for item in _files_of_requirements("m2a_ros"):
        (site_packages / item.name).symlink_to(item)
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=home)
    return python


def _files_of_requirements(distribution: str) -> Iterator[Path]:
    """Top-level files and folders of everything that a distribution requires without extras, directly or not."""
    from packaging.requirements import Requirement

    library = Path(sysconfig.get_path("purelib"))
    waiting, seen, items = [distribution], {distribution}, set()
    while waiting:
        for line in metadata.requires(waiting.pop()) or ():
            requirement = Requirement(line)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if requirement.name in seen or not wanted:
                continue
            seen.add(requirement.name)
            waiting.append(requirement.name)
            files = metadata.files(requirement.name) or ()
            items |= {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
    return (library / item for item in sorted(items))
