"""A bag's messages into the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from m2a_core.errors import ConfigError, DataError
from m2a_core.extras import install_command
from m2a_ros.review.layout import OUTPUT_BAG, RUN
from m2a_ros.view.topics import shown_topic

if TYPE_CHECKING:
    from m2a_ros.view.rerun_sink import RerunSink


def bags_of(path: Path) -> list[Path]:
    """The bags to show: of the folder of a replay its output bags, else the path itself.

    Raises:
        DataError: there is nothing, or the replay is not finished or kept no bag, as in mode peak.
    """
    if not path.exists():
        raise DataError(f"bag {path}: no such file or folder")
    if not (path / RUN).is_file():
        return [path]
    bags = sorted(bag for bag in path.glob(f"*/{OUTPUT_BAG}") if (bag / "metadata.yaml").is_file())
    if not bags:
        raise DataError(f"{path}: a replay without output bags; finish it, or replay in another mode than peak")
    return bags


def show_bag(path: Path, cameras: tuple[str, ...], sink: RerunSink) -> int:
    """Show a bag.

    Args:
        path: bag folder, ``.mcap`` or ``.db3`` file.
        cameras: the cameras to show; () for all.
        sink: where to.

    Returns:
        Number of messages.

    Raises:
        ConfigError: rosbags is not installed.
        DataError: no readable bag, or nothing in it is the node's.
    """
    try:
        from m2a_ros.bag.reader import Bag, decode
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rosbags":
            raise
        raise ConfigError(f"reading bags needs rosbags: {install_command('replay')}") from error
    count = 0
    with Bag(path) as bag:
        shown = {c.id: topic for c in bag.connections if (topic := shown_topic(c.topic, c.msgtype, cameras))}
        if not shown:
            topics = sorted(c.topic for c in bag.connections)
            raise DataError(
                f"bag {path}: none of its topics {topics} is one of the node's outputs"
                + (f" for the cameras {list(cameras)}" if cameras else "")
                + "; record ~/output and ~/debug topics, or give what m2a replay wrote"
            )
        connections = [c for c in bag.connections if c.id in shown]
        for connection, _, data in bag.messages(connections):
            sink.show(shown[connection.id], decode(data, connection.msgtype))
            count += 1
    return count
