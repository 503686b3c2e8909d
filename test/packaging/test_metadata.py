"""package.xml, setup.cfg and the sources say the same thing."""

import ast
import configparser
import re
import sys
import xml.etree.ElementTree as ElementTree
from email.utils import parseaddr

import pytest
from catkin_pkg.package import parse_package_string
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import m2a_core
from test.packaging.conftest import ROOT

OWN = {"m2a_core", "m2a_ros"}
DEBIAN_NAMES = {
    "cv2": "python3-opencv",
    "PIL": "python3-pil",
    "jinja2": "python3-jinja2",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "rosbags": "python3-rosbags-pip",
    "tf2_ros": "tf2_ros_py",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
PIP_ONLY = {"ray", "rerun", "upath", "apsw", "backports", "lz4"}
"""No ROS distribution packages them: package.xml says so, setup.cfg holds their versions, rosbags brings the last."""
STANDARD = {*sys.stdlib_module_names, "compression"}
"""The last of Python 3.14."""
MAIL = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9._-]+\.[a-zA-Z]{2,}")


@pytest.fixture(scope="module")
def description():
    text = (ROOT / "package.xml").read_text(encoding="utf-8")
    warnings: list[str] = []
    package = parse_package_string(text, "package.xml", warnings=warnings)
    assert warnings == []
    return package


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_description_is_a_format_3_ament_python_package(description):
    assert (description.name, description.package_format) == ("m2a_ros", 3)
    assert description.get_build_type() == "ament_python"
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    assert [child.text for child in root.findall("license")] == ["Apache-2.0"]


def test_maintainer_has_a_mail_address_that_colcon_accepts(description):
    (maintainer,) = description.maintainers
    assert MAIL.fullmatch(maintainer.email)
    assert parseaddr(f"{maintainer.name} <{maintainer.email}>") == (maintainer.name, maintainer.email)


def test_name_version_and_licence_are_said_alike_everywhere(description, setup_cfg):
    assert setup_cfg["metadata"]["name"] == description.name
    assert description.version == m2a_core.__version__
    assert setup_cfg["metadata"]["license"] == description.licenses[0]
    assert (ROOT / "resource" / description.name).is_file()


def test_every_third_party_import_of_the_ros_side_is_a_declared_dependency(description):
    declared = {depend.name for depend in description.exec_depends}
    files = [*(ROOT / "m2a_ros").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in imported_packages(path)
        if name not in OWN | PIP_ONLY | STANDARD and DEBIAN_NAMES.get(name, name) not in declared
    }
    assert missing == set()


def test_programs_that_the_launch_files_start_are_declared_dependencies(description):
    declared = {depend.name for depend in description.exec_depends}
    assert {"ros2launch", "ros2bag", "rviz2"} <= declared
    assert [url.type for url in description.urls] == ["website"]


def test_groups_that_bring_torch_agree_on_one_exact_version(setup_cfg):
    groups = setup_cfg["options.extras_require"]
    torch = {
        group: line
        for group in groups
        for line in groups[group].splitlines()
        if line and Requirement(line).name == "torch"
    }
    assert torch == {"train": "torch==2.13.0", "export": "torch==2.13.0"}


def test_running_group_brings_neither_torch_nor_ros(setup_cfg):
    names = {Requirement(line).name for line in setup_cfg["options"]["install_requires"].split("\n") if line}
    assert names == {"Jinja2", "numpy", "onnxruntime", "opencv-python-headless", "Pillow", "PyYAML", "tqdm"}


PINNED = {
    "constraints.txt": ("ros", "replay", "signing"),
    "docker/python-cuda12.txt": (),
    "docker/python-cuda13.txt": (),
}


@pytest.mark.parametrize("name", PINNED)
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_pinned_releases_have_hashes_and_are_those_that_the_metadata_allow(setup_cfg, name, python):
    """`make constraints` makes the files; a bound that changes in setup.cfg shows here."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    pins = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text()):
        line, *hashes = re.split(r"\s*\\?\s+--hash=", re.sub(r"\s*#.*", "", entry).strip())
        if not line:
            continue
        pin = Requirement(line.rstrip(" \\"))
        assert hashes, f"{pin.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip(" \\")) for each in hashes)
        if pin.marker is None or pin.marker.evaluate(environment):
            (version,) = pin.specifier
            assert version.operator == "=="
            pins[canonicalize_name(pin.name)] = version.version
    wanted = setup_cfg["options"]["install_requires"].splitlines()
    for group in PINNED[name]:
        wanted += setup_cfg["options.extras_require"][group].splitlines()
    for requirement in (Requirement(line) for line in wanted if line and not line.startswith("#")):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier


def imported_packages(path):
    """Top-level names that a file imports anywhere, relative imports aside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]
