from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m2a_ros.main import main


class Replay:
    """What a replay left."""

    def __init__(self, code: int, out: Path) -> None:
        self.code = code
        self.out = out

    @property
    def frames(self) -> list[dict[str, Any]]:
        return self._lines("frames.jsonl")

    @property
    def problems(self) -> list[dict[str, Any]]:
        return self._lines("problems.jsonl")

    @property
    def hashes(self) -> list[str]:
        return [frame["hash"] for frame in self.frames]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]


def run_replay(model: Path, out: Path, *arguments: object, mode: str = "offline") -> Replay:
    call = ["replay", "--mode", mode, "--model", str(model), "--out", str(out), "--threads", "1"]
    return Replay(main([*call, *map(str, arguments)]), out)


@pytest.fixture
def replay(tiny: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Replay]:
    """Run ``m2a replay``: ``replay(bag, ..., "--option", out="folder")``."""

    def run(*arguments: object, out: str = "out", mode: str = "offline") -> Replay:
        done = run_replay(tiny, tmp_path / out, *arguments, mode=mode)
        marked = request.node.get_closest_marker("dds") is not None
        assert marked or mode == "offline" or done.code == 2, "it ran a node: mark the test with dds"
        return done

    return run
