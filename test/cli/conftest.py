"""What `m2a evaluate` is tested on: score maps with their truth, and a data set with a model that reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test.cli.score_maps import write_scores, write_truths
from test.cli.tiny_scenes import SIZE, scene, write
from test.tiny_bundle import write_tiny_bundle


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_truths(tmp_path / "gt")
    write_scores(tmp_path / "pred", ".npz")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        image, ids = scene(16 + 24 * i)
        write(tmp_path / "data" / "images" / f"{i}.png", image)
        write(tmp_path / "data" / "masks" / f"{i}.png", (ids == 11).astype(np.uint8))
    return tmp_path
