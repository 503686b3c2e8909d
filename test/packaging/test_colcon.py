"""A colcon workspace builds the package as ament_python and lays it out as ros2 run and ros2 launch expect."""

import os
import sys

import pytest

from test.packaging.conftest import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prefix(source_tree, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    arguments = ("--base-paths", source_tree, "--event-handlers", "console_direct+")
    output = run(sys.executable, "-m", "colcon", "--log-base", "log", "build", *arguments, cwd=workspace)
    assert "1 package finished" in output
    return workspace / "install" / "m2a_ros"


@pytest.mark.parametrize("script", ["m2a", "m2a_node"])
def test_console_scripts_are_where_ros2_run_looks_for_them(prefix, script):
    path = prefix / "lib" / "m2a_ros" / script
    assert os.access(path, os.X_OK)
    assert not (prefix / "bin" / script).exists()


def test_share_holds_the_description_and_the_launch_config_and_engine_trees(prefix, source_tree):
    share = prefix / "share" / "m2a_ros"
    assert (share / "package.xml").is_file()
    for tree in ("launch", "config", "engines"):
        wanted = {
            p.relative_to(source_tree)
            for p in (source_tree / tree).rglob("*")
            if p.is_file() and ".safetensors" not in p.name
        }
        assert wanted <= {p.relative_to(share) for p in (share / tree).rglob("*")}


def test_ament_index_lists_the_package(prefix):
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / "m2a_ros").is_file()


def test_build_was_not_downgraded_to_plain_python(prefix):
    """Only ament_python packages get the hook that extends AMENT_PREFIX_PATH."""
    assert list((prefix / "share" / "m2a_ros" / "hook").glob("ament_prefix_path.*"))


def test_installed_command_runs_from_the_workspace(prefix, tmp_path):
    setup = f"source {prefix.parent / 'local_setup.bash'} && {prefix / 'lib' / 'm2a_ros' / 'm2a'} --help"
    assert "predict" in run("bash", "-c", setup, cwd=tmp_path)
