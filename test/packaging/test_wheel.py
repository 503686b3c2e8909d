"""What the wheel carries, and that it works where there is no ROS."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.packaging.conftest import ROOT, clean_environment, run


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def shared(names):
    """Paths below share/ that installing the wheel creates."""
    marker = ".data/data/share/"
    return {name.partition(marker)[2] for name in names if marker in name}


@pytest.mark.slow
def test_wheel_holds_every_module_of_both_packages_and_no_other_package(names):
    sources = {str(p.relative_to(ROOT)) for package in ("m2a_core", "m2a_ros") for p in (ROOT / package).rglob("*.py")}
    modules = {name for name in names if name.endswith(".py") and ".data/" not in name}
    assert modules == sources


def test_wheel_holds_the_sources_that_are_compiled_where_they_run(names):
    wanted = {str(p.relative_to(ROOT)) for part in ("ops", "trt") for p in (ROOT / "m2a_core" / part).glob("csrc/*")}
    assert len(wanted) > 5
    assert wanted <= names


def test_wheel_holds_the_templates_and_style_of_its_reports(names):
    folders = [p for package in ("m2a_core", "m2a_ros") for p in (ROOT / package).rglob("templates")]
    wanted = {str(p.relative_to(ROOT)) for folder in folders for p in folder.iterdir()}
    assert {"m2a_core/reporting/templates/page.css", "m2a_ros/review/templates/replay.html"} <= wanted <= names


def test_wheel_says_that_both_packages_are_typed(names):
    assert {"m2a_core/py.typed", "m2a_ros/py.typed"} <= names


def test_wheel_holds_the_ament_marker_and_the_package_description(names):
    assert {"ament_index/resource_index/packages/m2a_ros", "m2a_ros/package.xml"} <= shared(names)


@pytest.mark.parametrize("tree", ["launch", "config", "engines"])
def test_wheel_holds_every_data_file_in_its_folder(names, source_tree, tree):
    files = [p for p in (source_tree / tree).rglob("*") if p.is_file() and ".safetensors" not in p.name]
    wanted = {f"m2a_ros/{p.relative_to(source_tree)}" for p in files}
    got = {name for name in shared(names) if name.startswith(f"m2a_ros/{tree}/")}
    assert wanted
    assert got == wanted


def test_wheel_holds_the_terms_of_code_and_weights_and_no_training_weights(names):
    licences = {Path(name).name for name in names if ".dist-info/" in name}
    assert {"LICENSE", "WEIGHTS_LICENSE.md"} <= licences
    assert not [name for name in names if name.endswith(".safetensors")]


def test_wheel_declares_both_console_scripts(wheel, names):
    (path,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    parser = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        parser.read_string(archive.read(path).decode())
    assert dict(parser["console_scripts"]) == {"m2a": "m2a_ros.main:main", "m2a_node": "m2a_ros.node.main:main"}


@pytest.mark.slow
def test_installation_without_ros_and_torch_shows_the_commands(bare_python):
    help_text = run(bare_python.parent / "m2a", "--help", cwd=bare_python.parent)
    assert "predict" in help_text
    for absent in ("rclpy", "torch"):
        done = subprocess.run([bare_python, "-c", f"import {absent}"], env=clean_environment(), capture_output=True)
        assert done.returncode != 0, f"{absent} is in the environment that should lack it"


@pytest.mark.slow
def test_installation_without_ros_and_torch_predicts_with_an_installed_model(bare_python, tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24] = (0, 0, 255)
    image[24:] = (0, 255, 0)
    cv2.imwrite(str(tmp_path / "street.png"), image[..., ::-1])
    run(bare_python.parent / "m2a", "predict", "street.png", "--model", "tiny", "--out", "out", cwd=tmp_path)
    with np.load(tmp_path / "out" / "street.npz") as arrays:
        assert arrays["anomaly"].shape == (48, 64)
        assert (arrays["semantic"][[2, 45], 30] == [0, 3]).all()


def test_installed_environment_lies_outside_the_checkout(bare_python):
    where = run(bare_python, "-c", "import m2a_core; print(m2a_core.__file__)", cwd=bare_python.parent)
    assert not Path(where.strip()).is_relative_to(ROOT)


def test_a_wheel_in_a_folder_of_its_own_finds_its_models(wheel, tmp_path):
    """`pip install --target`: share/ lies beside the packages, not below a prefix."""
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "target", wheel, cwd=tmp_path)
    code = "from m2a_core.bundle.loading import load_bundle; load_bundle('tiny')"
    environment = {**clean_environment(), "PYTHONPATH": str(tmp_path / "target")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
