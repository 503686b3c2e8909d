"""The files under config/ fit the node."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from m2a_core.errors import ConfigError
from m2a_ros.process.dds import PROFILE_VARIABLES, profile_environment
from m2a_ros.process.shared_files import shared_file

DDS = "{http://www.eprosima.com}"


@pytest.mark.parametrize(
    ("rclpy", "names"),
    [
        ("9.1.2", {"FASTDDS_DEFAULT_PROFILES_FILE"}),
        ("10.0.0", {"FASTDDS_DEFAULT_PROFILES_FILE"}),
        ("7.1.4", {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"}),
        ("unknown", {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"}),
    ],
)
def test_profile_is_set_by_the_names_that_the_installed_ros_reads(
    rclpy: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2a_ros.process.dds.version", lambda package: rclpy)
    variables = profile_environment({})
    assert set(variables) == names
    assert set(variables.values()) == {str(shared_file("config/fastdds_profile.xml"))}


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_a_profile_of_the_user_s_is_left_alone(name: str) -> None:
    assert profile_environment({name: "/their/profile.xml"}) == {}


def test_profile_has_room_for_a_4k_image_and_replaces_the_built_in_transports() -> None:
    root = ElementTree.parse(shared_file("config/fastdds_profile.xml")).getroot()
    kinds = {t.findtext(f"{DDS}type"): t for t in root.iter(f"{DDS}transport_descriptor")}
    assert int(kinds["SHM"].findtext(f"{DDS}segment_size") or 0) > 2 * 3840 * 2160 * 3
    assert "UDPv4" in kinds
    participant = next(root.iter(f"{DDS}participant"))
    assert participant.get("is_default_profile") == "true"
    assert next(participant.iter(f"{DDS}useBuiltinTransports")).text == "false"
    used = {element.text for element in next(participant.iter(f"{DDS}userTransports"))}
    assert used == {t.findtext(f"{DDS}transport_id") for t in kinds.values()}


def test_missing_file_says_where_it_was_looked_for() -> None:
    with pytest.raises(ConfigError, match=r"no_such\.yaml.*share"):
        shared_file("config/no_such.yaml")
