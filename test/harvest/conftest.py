from __future__ import annotations

from pathlib import Path

import pytest

from test.harvest.replays import KINDS, drive_past, replayed


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two drives that meet each kind of object three times."""
    folder = tmp_path_factory.mktemp("drives")
    return [drive_past(folder / f"drive_{number}", 3 * list(KINDS)) for number in range(2)]


@pytest.fixture(scope="session")
def replay_out(tmp_path_factory: pytest.TempPathFactory, drives: list[Path], tiny: Path) -> Path:
    return replayed(tmp_path_factory.mktemp("replay") / "out", drives, tiny)
