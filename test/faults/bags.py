"""Damaged and forged bags: described or refused, never an end without words, never a file outside of the bag."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin

from m2a_core.errors import M2aError
from m2a_ros.bag.info import describe, in_words
from m2a_ros.bag.reader import Bag
from test.faults.files import YAML_BOMBS, require_short
from test.faults.mutation import mutated
from test.replay.bags import drive


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """Two whole bags; gives what damages a copy and looks at it."""
    whole = [drive(folder / plugin.name, 3, plugin) for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3)]

    def case(rng: random.Random, number: int) -> str:
        bag = folder / "damaged"
        shutil.rmtree(bag, ignore_errors=True)
        shutil.copytree(whole[number % 2], bag)
        file = rng.choice(sorted(bag.iterdir()))
        metadata = bag / "metadata.yaml"
        match rng.randrange(8):
            case 0:
                metadata.write_text(rng.choice(YAML_BOMBS))
            case 1:
                name = next(path.name for path in bag.iterdir() if path != metadata)
                outside = rng.choice(
                    (f"../{whole[number % 2].name}/{name}", "/etc/passwd", "../../../etc/passwd", "a\0b")
                )
                metadata.write_text(metadata.read_text().replace(name, outside))
            case 2:
                file.unlink()
            case 3:
                file.write_bytes(b"")
            case _:
                file.write_bytes(mutated(file.read_bytes(), rng))
        try:
            in_words(describe(bag))
            with Bag(bag) as opened:
                for _ in opened.messages(opened.connections):
                    pass
        except M2aError as error:
            require_short(error)
            return "refused"
        return "read"

    yield case
