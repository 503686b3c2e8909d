"""The list of topics that the documentation shows is what a running node has."""

from __future__ import annotations

import re
from pathlib import Path

from docs.site.topic_list import INPUTS, OUTPUTS, Topic
from test.ros.in_process import Nodes

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "node.md").read_text(encoding="utf-8")
OF_EVERY_NODE = {"/rosout", "/parameter_events", "/m2a/transition_event", "/tf_static"}


def full(topic: Topic) -> str:
    return topic.name.replace("~", "/m2a").replace("CAMERA", "front")


def as_listed(topics: tuple[Topic, ...], found: list[tuple[str, list[str]]]) -> set[tuple[str, str]]:
    """Name and type of each listed topic, of its types the one that the node has."""
    kinds = {name: kind for name, (kind,) in found}
    listed = {(full(topic), next((k for k in topic.kinds if kinds.get(full(topic), "") == k), "?")) for topic in topics}
    return {(name, kind) for name, kind in listed if kind}


def test_a_running_node_publishes_what_is_listed(nodes: Nodes) -> None:
    nodes.start()
    found = nodes.peer.get_publisher_names_and_types_by_node("m2a", "/")
    assert as_listed(OUTPUTS, found) == {(name, kind) for name, (kind,) in found if name not in OF_EVERY_NODE}


def test_a_running_node_reads_what_is_listed(nodes: Nodes) -> None:
    nodes.start(transport="compressed")
    compressed = nodes.peer.get_subscriber_names_and_types_by_node("m2a", "/")
    nodes.start("other", transport="raw")
    raw = nodes.peer.get_subscriber_names_and_types_by_node("m2a", "/other")
    found = {name.removeprefix("/other"): kinds for name, kinds in [*raw, *compressed] if "/input/" in name}
    assert as_listed(INPUTS, list(found.items())) == {(name, kind) for name, (kind,) in found.items()}


def test_the_page_of_the_node_has_every_topic_with_its_type() -> None:
    rows = dict(re.findall(r"^\| `([~/][^`]+)` \| ([^|]+) \|", PAGE, re.M))
    for topic in (*INPUTS, *OUTPUTS):
        if not topic.name.endswith("/publish_ms") and re.search(r"/(decode|preprocess|network|heads)_ms$", topic.name):
            continue
        assert topic.kinds[0].rpartition("/")[2] in rows[topic.name.replace("/publish_ms", "/STAGE_ms")]
