"""The SROS2 policy against a node that runs: all that it does is allowed, nothing more is."""

from __future__ import annotations

from xml.etree import ElementTree

from test.ros.harness import ROOT

POLICY = ROOT / "config/sros2/policy.xml"
CONDITIONAL = {
    "subscribe": {"/tf", "/tf_static", "/clock", "/m2a/input/front/image", "/m2a/input/front/image/compressed"},
    "publish": {"/m2a/output/front/unknown_detections", "/tf_static"},
    "reply": {"/m2a/get_type_description"},
}
"""With tf2_ros, with use_sim_time; one of the two transports; with vision_msgs and tf2_msgs; from Jazzy on."""


def allowed(enclave: str) -> dict[str, set[str]]:
    """Full names by what may be done with them."""
    found: dict[str, set[str]] = {}
    root = ElementTree.parse(POLICY).getroot()
    for profile in root.findall(f".//enclave[@path='{enclave}']/profiles/profile"):
        own = f"{profile.get('ns', '').rstrip('/')}/{profile.get('node')}"
        for group in profile:
            for action, verdict in group.attrib.items():
                assert verdict == "ALLOW"
                names = {(entry.text or "").replace("~", own, 1) for entry in group}
                found[action] = found.get(action, set()) | names
    return found


def test_the_node_does_what_the_policy_allows_and_needs_no_less(nodes) -> None:
    node = nodes.start(extrinsics="parameters")
    done = {
        "publish": node.get_publisher_names_and_types_by_node("m2a", "/"),
        "subscribe": node.get_subscriber_names_and_types_by_node("m2a", "/"),
        "reply": node.get_service_names_and_types_by_node("m2a", "/"),
    }
    policy = allowed("/m2a")
    assert policy.keys() == done.keys()
    for action, entries in done.items():
        names = {name for name, _ in entries}
        assert names <= policy[action], f"{action}: not allowed {names - policy[action]}"
        assert policy[action] - names <= CONDITIONAL[action], f"{action}: more than needed {policy[action] - names}"
    assert node.get_client_names_and_types_by_node("m2a", "/") == []


def test_only_the_manager_calls_services_and_only_the_camera_sends_images() -> None:
    root = ElementTree.parse(POLICY).getroot()
    enclaves = [enclave.get("path", "") for enclave in root.iter("enclave")]
    assert [name for name in enclaves if "request" in allowed(name)] == ["/m2a_manager"]
    images = "/m2a/input/front/image"
    assert [name for name in enclaves if images in allowed(name).get("publish", ())] == ["/camera"]
    assert allowed("/m2a_reader")["subscribe"] <= allowed("/m2a")["publish"]
    assert allowed("/m2a_manager")["request"] <= allowed("/m2a")["reply"]
