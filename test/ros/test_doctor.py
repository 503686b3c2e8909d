"""The doctor's checks of ROS, and the cameras it finds over DDS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, RegionOfInterest

from m2a_core.doctor.findings import Finding, Level
from m2a_ros.main import main
from m2a_ros.node.camera_survey import CameraSurvey, HeardTopic, calibration, info_topic
from m2a_ros.outputs.topics import is_output
from m2a_ros.process import ros_checks
from test.ros.messages import image

PICTURE = np.zeros((48, 64, 3), np.uint8)
PROFILE = "<dds xmlns='http://www.eprosima.com'><profiles><t><segment_size>{}</segment_size></t></profiles></dds>"


def level_of(findings, subject: str = "") -> Level:
    return next(f.level for f in findings if subject in f.subject)


@pytest.mark.parametrize(
    ("domain", "level"),
    [("", Level.OK), ("42", Level.OK), ("102", Level.WARNING), ("233", Level.ERROR), ("x", Level.ERROR)],
)
def test_a_domain_that_cannot_be_or_collides_is_told(domain, level):
    assert level_of(ros_checks.check_discovery({"ROS_DOMAIN_ID": domain}), "DOMAIN") is level


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "no other process"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "this machine only"),
        ({"ROS_DISCOVERY_SERVER": "10.0.0.1:11811"}, "discovery server"),
    ],
)
def test_variables_that_narrow_discovery_are_told(environment, word):
    assert any(word in f.text for f in ros_checks.check_discovery(environment))


def test_a_wheel_beside_a_sourced_installation_is_told():
    (finding,) = ros_checks.check_ros({"AMENT_PREFIX_PATH": "/opt/ros/jazzy", "ROS_DISTRO": "jazzy"})
    assert finding.level in (Level.WARNING, Level.OK)
    assert (finding.level is Level.WARNING) == ("wheels" in finding.text)


def test_another_middleware_is_a_note():
    assert level_of(ros_checks.check_middleware({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})) is Level.NOTE


@pytest.mark.parametrize(
    ("text", "level"),
    [(PROFILE.format(64 << 20), Level.OK), (PROFILE.format(1 << 19), Level.WARNING), ("<dds", Level.ERROR)],
)
def test_a_profile_is_judged_by_its_segment(tmp_path: Path, text, level):
    path = tmp_path / "profile.xml"
    path.write_text(text)
    assert ros_checks.profile_finding("FASTDDS_DEFAULT_PROFILES_FILE", path).level is level


def test_a_profile_that_is_not_there_is_an_error(tmp_path: Path):
    assert level_of(ros_checks.check_middleware({"FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "no")})) is Level.ERROR


@pytest.mark.parametrize(("bytes_", "level"), [("212992", Level.WARNING), ("8388608", Level.OK), ("?", Level.NOTE)])
def test_a_small_receive_buffer_is_told(tmp_path: Path, bytes_, level):
    path = tmp_path / "rmem_max"
    path.write_text(bytes_)
    assert level_of(ros_checks.check_receive_buffer(path)) is level


def test_shared_memory_that_cannot_be_used_is_told(tmp_path: Path):
    assert level_of(ros_checks.check_shared_memory(tmp_path / "none")) is Level.WARNING


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/front/image_raw", "/front/camera_info"),
        ("/front/image_raw/compressed", "/front/camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_the_calibration_is_looked_for_where_image_transport_has_it(topic, expected):
    assert info_topic(topic) == expected


def test_an_uncalibrated_camera_and_one_of_another_size_are_told():
    heard = HeardTopic("/front/image", "sensor_msgs/msg/Image", count=1, latest=image(PICTURE, 1))
    info = CameraInfo(width=heard.latest.width, height=heard.latest.height)
    topic = HeardTopic("/front/camera_info", "sensor_msgs/msg/CameraInfo", latest=info)
    assert calibration(heard, None).level is Level.NOTE
    assert "zero" in calibration(heard, topic).text
    info.k[0] = info.k[4] = 500.0
    assert calibration(heard, topic).level is Level.OK
    info.width *= 2
    assert calibration(heard, topic).level is Level.WARNING


def test_a_calibration_that_binning_or_a_region_of_interest_fits_to_the_image_is_fine():
    heard = HeardTopic("/front/image", "sensor_msgs/msg/Image", count=1, latest=image(PICTURE, 1))
    width, height = heard.latest.width, heard.latest.height
    sensor = {"width": 4 * width, "height": 2 * height + 400, "k": np.diag([500.0, 500, 1]).ravel()}
    roi = RegionOfInterest(x_offset=8, y_offset=200, width=2 * width, height=2 * height)
    for fields, level in (({}, Level.WARNING), ({"roi": roi, "binning_x": 2, "binning_y": 2}, Level.OK)):
        topic = HeardTopic("/front/camera_info", "sensor_msgs/msg/CameraInfo", latest=CameraInfo(**sensor, **fields))
        assert calibration(heard, topic).level is level


def test_a_calibration_that_gives_no_places_is_told_with_its_fault():
    heard = HeardTopic("/front/image", "sensor_msgs/msg/Image", count=1, latest=image(PICTURE, 1))
    info = CameraInfo(width=heard.latest.width, height=heard.latest.height, k=np.diag([500.0, 500, 1]).ravel())
    info.distortion_model, info.d = "double_sphere", [0.1, 0.2]
    topic = HeardTopic("/front/camera_info", "sensor_msgs/msg/CameraInfo", latest=info)
    finding = calibration(heard, topic)
    assert finding.level is Level.WARNING
    assert "double_sphere" in finding.text
    # P says all of a rectified image.
    rectified = HeardTopic("/front/image_rect", heard.type_name, count=1, latest=heard.latest)
    assert calibration(rectified, topic).level is Level.OK


def test_cameras_are_heard_with_size_and_rate(nodes):
    nodes.peer.create_publisher(CompressedImage, "/mute/image/compressed", 1)
    message = image(PICTURE, 1)

    def send_and_spin(left: float) -> None:
        nodes.send("/front/image", message)
        nodes.executor.spin_once(timeout_sec=min(left, 0.05))

    found: list[Finding] = list(CameraSurvey(nodes.peer, send_and_spin).findings(1.0))
    front = next(f for f in found if f.subject == "/front/image")
    assert f"{message.width}x{message.height}" in front.text
    assert "Hz" in front.text
    mute = next(f for f in found if f.subject == "/mute/image/compressed")
    assert mute.level is Level.WARNING
    assert mute.remedy


def test_outputs_of_a_running_node_are_no_cameras_and_are_not_computed_for_the_survey(nodes):
    nodes.start(namespace="car", cameras=["front"])

    def spin(left: float) -> None:
        nodes.executor.spin_once(timeout_sec=min(left, 0.05))

    (alone,) = CameraSurvey(nodes.peer, spin).findings(0.5)
    assert (alone.level, "m2a itself" in alone.text) == (Level.NOTE, True)

    def send_and_spin(left: float) -> None:
        nodes.send("/car/m2a/input/front/image", image(PICTURE, 1))
        spin(left)

    found = list(CameraSurvey(nodes.peer, send_and_spin).findings(1.0))
    assert {f.subject.split()[0] for f in found} == {"/car/m2a/input/front/image"}
    nodes.until(lambda: nodes.status("car/m2a: camera front").get("dropped.no_subscriber"))
    assert nodes.status("car/m2a: camera front").get("published", "0") == "0"


def test_a_camera_whose_driver_has_an_output_of_that_name_is_one():
    topics = {"/cam/output/front/image", "/m2a/output/front/label_info", "/m2a/output/front/panoptic"}
    assert [topic for topic in sorted(topics) if is_output(topic, topics)] == [
        "/m2a/output/front/label_info",
        "/m2a/output/front/panoptic",
    ]


def test_a_calibration_that_was_latched_before_is_heard(nodes):
    message = image(PICTURE, 1)
    info = CameraInfo(width=message.width, height=message.height, k=np.diag([500.0, 500, 1]).ravel())
    durability = DurabilityPolicy.TRANSIENT_LOCAL
    nodes.send("/front/camera_info", info, QoSProfile(depth=1, durability=durability))

    def send_and_spin(left: float) -> None:
        nodes.send("/front/image", message)
        nodes.executor.spin_once(timeout_sec=min(left, 0.05))

    found = CameraSurvey(nodes.peer, send_and_spin).findings(1.0)
    assert next(f for f in found if f.subject == "/front/image calibration").level is Level.OK


def test_the_command_prints_json_and_its_exit_code_tells_of_errors(tmp_path: Path, capsys):
    assert main(["doctor", "--no-cameras", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"subject", "level", "text", "remedy"} == found[0].keys()
    assert main(["doctor", "--no-cameras", "--model", str(tmp_path)]) == 1
    assert "FAIL" in capsys.readouterr().out
