"""Setups that do not fit are refused, in this process: real node, real parameters, no messages."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import ParameterType
from rclpy.context import Context
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from m2a_core.bundle.digest import sealed
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.types import Output
from m2a_ros.node.node import M2aNode
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.process.shared_files import shared_file
from m2a_ros.process.statistics import CameraStatistics
from test.tiny_bundle import write_tiny_bundle

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
MakeNode = Callable[..., M2aNode]


@pytest.fixture
def make_node(domain: int, tiny: Path) -> Iterator[MakeNode]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    nodes = []

    def make(**parameters: Any) -> M2aNode:
        values = {"model": str(tiny), "threads": 1, **parameters}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        nodes.append(M2aNode(context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown(context=context)


def refusal(node: M2aNode) -> str:
    """Try to configure; give the reason of the refusal."""
    assert node.trigger_configure() == FAILURE
    assert node.state == "unconfigured"
    return node.problem


BAD_PARAMETERS = {
    "out of range": ({"max_rate": -1.0}, ["max_rate", "-1.0", "0.0 to 1000.0"]),
    "wrong type": ({"threads": 1.5}, ["threads", "1.5", "whole number"]),
    "whole number for a real": ({"mounting__front__height": 2}, ["mounting.front.height", "decimal point"]),
    "not a choice": ({"transport": "theora"}, ["transport", "theora", "auto, raw, compressed"]),
    "unknown back end": ({"backend": "abacus"}, ["backend", "abacus", "onnxruntime"]),
    "unknown": ({"max_rat": 5.0}, ["max_rat", "unknown", "did you mean 'max_rate'"]),
    "of no camera": ({"mounting__rear__x": 1.0}, ["mounting.rear.x", "cameras"]),
    "no topic name": ({"cameras": ["2nd"]}, ["cameras", "2nd"]),
    "camera twice": ({"cameras": ["a", "a"]}, ["cameras"]),
    "anchor that is not a camera": ({"batch__anchor": "rear"}, ["batch.anchor", "rear", "front"]),
    "rectified twice": (
        {"rectified_cameras": ["front"], "camera__front__rectify": True},
        ["rectified_cameras", "rectify"],
    ),
    "transport of a camera": ({"camera__front__transport": "theora"}, ["camera.front.transport", "default, auto"]),
    "settings of no camera": ({"camera__rear__crop": True}, ["camera.rear.crop", "cameras"]),
    "rate between": ({"camera__front__max_rate": -0.5}, ["camera.front.max_rate", "-0.5", "0.0 to 1000.0, or -1.0"]),
    "overlay of a pixel": ({"overlay__max_width": 1}, ["overlay.max_width", "64 to 16384, or 0"]),
    "not a number": ({"mounting__front__height": float("nan")}, ["mounting.front.height", "nan", "0.05 to 100.0"]),
    "extent above the seed": (
        {"thresholds__extent": 0.9, "thresholds__refined": 0.8},
        ["thresholds.extent", "0.9", "thresholds.refined"],
    ),
    "threshold between": ({"thresholds__overlap": -0.5}, ["thresholds.overlap", "-0.5"]),
    "empty frame": ({"base_frame": ""}, ["base_frame", "empty"]),
    "no such model": ({"model": "no-such-model"}, ["no-such-model"]),
    "other classes": ({"classes": list(CITYSCAPES19.names)}, ["classes", "bicyclist", "rider"]),
}


@pytest.mark.parametrize(("parameters", "named"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS.keys())
def test_bad_parameter_is_refused_by_name(make_node: MakeNode, parameters: dict[str, Any], named: list[str]) -> None:
    reason = refusal(make_node(**parameters))
    assert all(word in reason for word in named), reason


def test_all_bad_parameters_are_named_at_once(make_node: MakeNode) -> None:
    reason = refusal(make_node(max_rate=-1.0, threads=1.5, nonsense=True))
    assert all(word in reason for word in ("max_rate", "threads", "nonsense"))


def damage(how: str, bundle: Path) -> None:
    onnx, manifest = bundle / "tiny.onnx", bundle / "manifest.json"
    content = json.loads(manifest.read_text())
    match how:
        case "graph missing":
            onnx.unlink()
        case "graph cut off":
            onnx.write_bytes(onnx.read_bytes()[:-100])
        case "graph corrupt but hash right":
            onnx.write_bytes(b"not a graph")
            content["onnx"]["sha256"] = hashlib.sha256(b"not a graph").hexdigest()
            manifest.write_text(json.dumps(sealed(content)))
        case "hash of another graph":
            content["onnx"]["sha256"] = 64 * "0"
            manifest.write_text(json.dumps(sealed(content)))
        case "manifest missing":
            manifest.unlink()
        case "manifest no JSON":
            manifest.write_text("{")
        case "more classes than the graph":
            content["labels"]["classes"].append({"name": "extra", "thing": False, "color": [1, 2, 3]})
            manifest.write_text(json.dumps(sealed(content)))


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("graph missing", "tiny.onnx"),
        ("graph cut off", "SHA-256"),
        ("graph corrupt but hash right", "tiny.onnx"),
        ("hash of another graph", "SHA-256"),
        ("manifest missing", "manifest.json"),
        ("manifest no JSON", "not JSON"),
        ("more classes than the graph", "class_probs"),
    ],
)
def test_damaged_model_is_refused_and_a_good_one_taken_after(
    make_node: MakeNode, tiny: Path, tmp_path: Path, how: str, named: str
) -> None:
    bundle = shutil.copytree(tiny, tmp_path / "bundle")
    damage(how, bundle)
    node = make_node(model=str(bundle))
    assert named in refusal(node)
    assert node.set_parameters([Parameter("model", value=str(tiny))])[0].successful
    assert node.trigger_configure() == SUCCESS


def test_back_end_that_cannot_load_is_refused_unless_another_is_configured(make_node: MakeNode) -> None:
    assert "no such engine" in refusal(make_node(backend="tensorrt"))
    node = make_node(backend="tensorrt", fallback_backend="onnxruntime")
    assert node.trigger_configure() == SUCCESS
    assert node.model is not None
    assert node.model.backend == "onnxruntime"


def test_bad_value_at_start_can_be_put_right(make_node: MakeNode) -> None:
    node = make_node(max_rate=-1.0)
    refusal(node)
    assert node.set_parameters([Parameter("max_rate", value=5.0)])[0].successful
    assert node.trigger_configure() == SUCCESS


def test_expected_classes_that_fit_are_taken(make_node: MakeNode) -> None:
    assert make_node(classes=list(CAMVID11.names)).trigger_configure() == SUCCESS


def test_autostart_activates_and_can_be_left_out(make_node: MakeNode) -> None:
    node = make_node()
    node.start()
    assert node.state == "active"
    waiting = make_node(autostart=False)
    waiting.start()
    assert waiting.state == "unconfigured"


def test_transitions_can_be_repeated_and_leave_nothing_behind(make_node: MakeNode) -> None:
    node = make_node()
    publishers, subscriptions = len(list(node.publishers)), len(list(node.subscriptions))
    threads = threading.active_count()
    for _ in range(10):
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
    assert (len(list(node.publishers)), len(list(node.subscriptions))) == (publishers, subscriptions)
    assert threading.active_count() == threads


def test_other_model_is_taken_after_cleanup(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node()
    node.start()
    other = write_tiny_bundle(tmp_path / "other", input_size=(32, 64), name="other")
    change = [Parameter("model", value=str(other))]
    refused = node.set_parameters(change)[0]
    assert not refused.successful
    assert "clean up" in refused.reason
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.set_parameters(change)[0].successful
    node.start()
    assert node.model is not None
    assert node.model.manifest.name == "other"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("max_rate", 3.0, 1001.0),
        ("camera.front.max_rate", 4.0, -2.0),
        ("camera.front.crop_center", 0.9, 1.5),
        ("overlay.max_width", 320, -1),
        ("overlay.jpeg_quality", 50, 0),
        ("thresholds.anomaly", 0.7, -0.5),
        ("mounting.front.pitch", 0.2, 2.0),
    ],
)
def test_live_parameters_change_while_running(make_node: MakeNode, name: str, good: float, bad: float) -> None:
    node = make_node()
    node.start()
    assert not node.set_parameters([Parameter(name, value=bad)])[0].successful
    assert node.set_parameters([Parameter(name, value=good)])[0].successful
    config = node.config
    assert config is not None
    used = {
        "max_rate": config.settings.camera["front"].max_rate,
        "camera.front.max_rate": config.settings.camera["front"].max_rate,
        "camera.front.crop_center": config.settings.camera["front"].crop_center,
        "overlay.max_width": config.settings.overlay_width,
        "overlay.jpeg_quality": config.settings.overlay_quality,
        "thresholds.anomaly": config.perception.manifest.thresholds.anomaly,
        "mounting.front.pitch": config.settings.mounting["front"].pitch,
    }
    assert used[name] == good


def test_a_fixed_parameter_may_be_set_to_what_it_is(make_node: MakeNode, tiny: Path) -> None:
    node = make_node()
    node.start()
    same: list[Any] = [Parameter("model", value=str(tiny)), Parameter("cameras", value=["front"])]
    together = node.set_parameters_atomically([*same, Parameter("max_rate", value=3.0)])
    assert together.successful, together.reason
    assert node.config is not None
    assert node.config.settings.camera["front"].max_rate == 3.0
    refused = node.set_parameters([Parameter("cameras", value=["front", "rear"])])[0]
    assert "fixed" in refused.reason


def test_contradictions_are_refused_while_running(make_node: MakeNode) -> None:
    node = make_node()
    node.start()
    assert node.config is not None
    seed = node.config.perception.manifest.thresholds.refined
    for name, value in (("thresholds.extent", min(1.0, seed + 0.01)), ("camera.front.max_rate", -0.5)):
        refused = node.set_parameters([Parameter(name, value=value)])[0]
        assert not refused.successful
        assert name in refused.reason


def test_undeclared_parameter_cannot_be_set(make_node: MakeNode) -> None:
    node = make_node()
    with pytest.raises(ParameterNotDeclaredException):
        node.set_parameters([Parameter("max_rat", value=1.0)])


def camera_topics(node: M2aNode) -> list[str]:
    ends: list[Any] = [*node.subscriptions, *node.publishers]
    return [end.topic_name for end in ends if "/front/" in end.topic_name]


@pytest.mark.parametrize(
    "topic",
    [
        "/m2a/input/front/image.subscription",
        "/m2a/input/front/camera_info.subscription",
        "/m2a/input/front/image/compressed.subscription",
        "/m2a/output/front/panoptic.publisher",
    ],
)
def test_impossible_quality_of_service_is_refused_aloud(make_node: MakeNode, topic: str) -> None:
    node = make_node(**{f"qos_overrides.{topic}.reliability": "perhaps"})
    node.start()
    assert node.state == "unconfigured"
    assert "perhaps" in node.problem
    assert "Traceback" not in node.problem
    assert camera_topics(node) == []


def test_quality_of_service_of_a_wrong_type_is_refused_and_leaves_nothing_behind(make_node: MakeNode) -> None:
    for direction in ("output/front/panoptic.publisher", "input/front/camera_info.subscription"):
        node = make_node(**{f"qos_overrides./m2a/{direction}.depth": "5"})
        node.start()
        assert node.state == "unconfigured"
        assert "Traceback" not in node.problem
        assert camera_topics(node) == []


def test_an_override_of_an_unknown_policy_is_refused_with_the_known_ones(make_node: MakeNode) -> None:
    node = make_node(**{"qos_overrides./m2a/input/front/image.subscription.reliabilty": "reliable"})
    node.start()
    assert node.state == "unconfigured"
    assert "'reliabilty' is not one of history, depth, reliability, durability" in node.problem


def test_defaults_of_a_camera_that_is_not_listed_change_nothing(make_node: MakeNode) -> None:
    node = make_node(cameras=["left"], camera__front__crop=False, mounting__front__height=2.5)
    reason = refusal(node)
    assert "mounting.front.height" in reason
    assert "camera.front.crop" not in reason


def test_a_new_activation_begins_anew(make_node: MakeNode) -> None:
    node = make_node()
    node.start()
    node.statistics["front"].dropped("inference_error", "an hour ago")
    assert node.trigger_deactivate() == node.trigger_activate() == SUCCESS
    assert node.statistics["front"].snapshot() == CameraStatistics().snapshot()


def test_only_what_is_listened_to_is_wanted(make_node: MakeNode) -> None:
    node = make_node()
    node.trigger_configure()
    outputs = node.pipelines["front"].outputs
    assert outputs.wanted() == frozenset()
    for topic, kind, needs in (
        ("output/front/anomaly_map", Image, {Output.SCORE}),
        ("output/front/unknown_markers", MarkerArray, {Output.UNKNOWN_INSTANCES}),
        ("debug/front/overlay", Image, {Output.OPEN_SET, Output.UNKNOWN_INSTANCES}),
    ):
        listener = node.create_subscription(kind, f"/m2a/{topic}", print, 1)
        for _ in range(200):
            if outputs.wanted():
                break
            node.get_clock().sleep_for(rclpy.duration.Duration(seconds=0.05))
        assert outputs.wanted() == needs
        node.destroy_subscription(listener)
        for _ in range(200):
            if not outputs.wanted():
                break
            node.get_clock().sleep_for(rclpy.duration.Duration(seconds=0.05))


def test_every_parameter_is_described_and_numbers_have_ranges(make_node: MakeNode) -> None:
    node = make_node(cameras=["left", "right"])
    specs = all_parameters(["left", "right"])
    for found in node.describe_parameters([spec.name for spec in specs]):
        assert len(found.description) > 20
        if found.type == ParameterType.PARAMETER_DOUBLE:
            assert found.floating_point_range
        if found.type == ParameterType.PARAMETER_INTEGER:
            assert found.integer_range


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    items: dict[str, Any] = {}
    for key, value in tree.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return items


def test_parameter_file_holds_every_parameter_with_its_default() -> None:
    content = yaml.safe_load(shared_file("config/m2a.param.yaml").read_text())
    assert list(content) == ["/**"]
    written = flat(content["/**"]["ros__parameters"])
    defaults = {spec.name: spec.default for spec in all_parameters(["front"])}
    assert written == defaults
    assert {name: type(value) for name, value in written.items()} == {n: type(v) for n, v in defaults.items()}


def test_old_names_of_parameters_work_and_warn(make_node: MakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    node = make_node(tracking__confirm_frames=3, temporal__hold=0.9)
    assert node.get_parameter("tracking.min_hits").value == 3
    assert node.get_parameter("temporal.low_threshold").value == 0.9
    assert node.trigger_configure() == SUCCESS
    told = capfd.readouterr().err
    assert "parameter 'tracking.confirm_frames' is deprecated" in told
    assert "use 'temporal.low_threshold'" in told


def test_old_names_can_be_set_while_the_node_runs(make_node: MakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    node = make_node()
    assert node.trigger_configure() == SUCCESS
    capfd.readouterr()
    assert node.set_parameters_atomically([Parameter("tracking.keep_frames", value=9)]).successful
    assert node.get_parameter("tracking.max_age").value == 9
    assert "use 'tracking.max_age'" in capfd.readouterr().err
    refused = node.set_parameters_atomically([Parameter("tracking.keep_frames", value=900)])
    assert not refused.successful
    assert not node.has_parameter("tracking.keep_frames")


def test_a_bad_value_under_an_old_name_is_refused_under_the_present_one(make_node: MakeNode) -> None:
    assert "parameter 'tracking.min_hits' is 0, expected" in refusal(make_node(tracking__confirm_frames=0))
