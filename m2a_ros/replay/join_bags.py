"""One bag made of the bags of a replay's chunks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from m2a_core.files import link_or_copy
from m2a_core.yaml_file import read_yaml
from m2a_ros.replay.chunk import OUTPUT

_KEY = "rosbag2_bagfile_information"
_TIME = "nanoseconds_since_epoch"


def join_bags(chunks: list[Path], bag: Path) -> None:
    """Make one bag, split into files, of the chunks' bags; linked where the file system can, else copied.

    Args:
        chunks: finished chunks, in order.
        bag: the bag's folder; must not exist.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = bag.with_name(f".{bag.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    joined: dict[str, Any] = {}
    for number, chunk in enumerate(chunks):
        information = read_yaml(chunk / OUTPUT / "metadata.yaml")[_KEY]
        if not information["message_count"] and (joined or chunk is not chunks[-1]):
            continue
        name = f"{bag.name}_{number}.mcap"
        link_or_copy(chunk / OUTPUT / information["relative_file_paths"][0], unfinished / name)
        information["files"][0]["path"] = name
        information["relative_file_paths"] = [name]
        joined = _join(joined, information) if joined else information
    (unfinished / "metadata.yaml").write_text(yaml.safe_dump({_KEY: joined}, sort_keys=False), encoding="utf-8")
    os.replace(unfinished, bag)


def _join(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    starts = [info["starting_time"][_TIME] for info in (first, second)]
    ends = [start + info["duration"]["nanoseconds"] for start, info in zip(starts, (first, second), strict=True)]
    topics = {topic["topic_metadata"]["name"]: dict(topic) for topic in first["topics_with_message_count"]}
    for topic in second["topics_with_message_count"]:
        known = topics.setdefault(topic["topic_metadata"]["name"], {**topic, "message_count": 0})
        known["message_count"] += topic["message_count"]
    return {
        **first,
        "relative_file_paths": first["relative_file_paths"] + second["relative_file_paths"],
        "files": first["files"] + second["files"],
        "starting_time": {_TIME: min(starts)},
        "duration": {"nanoseconds": max(ends) - min(starts)},
        "message_count": first["message_count"] + second["message_count"],
        "topics_with_message_count": list(topics.values()),
    }
