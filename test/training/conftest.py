"""Fixtures of the training tests: one thread, a synthetic data folder, and the real one where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from m2a_core.model import MODELS  # noqa: E402
from m2a_core.training import build  # noqa: E402
from test.tiny_network import TINY  # noqa: E402
from test.training.synthetic import write_data_root  # noqa: E402

SIBLING_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_in_zoo(monkeypatch) -> None:
    """Configurations may name the tiny network; its backbone stays random."""
    monkeypatch.setitem(MODELS, "tiny", TINY)
    monkeypatch.setattr(build, "load_pretrained_backbone", lambda name, backbone: None)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """A folder as ``m2a train --data-root`` takes it, with drawn frames; tests must not change it."""
    return write_data_root(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """CamVid and the outlier cut-outs, in $M2A_DATA_ROOT or beside the repository."""
    root = Path(os.environ.get("M2A_DATA_ROOT", SIBLING_DATA))
    for needed in ("camvid/frames.csv", "outliers/train.csv"):
        if not (root / needed).is_file():
            pytest.skip(f"no CamVid with outlier cut-outs in {root}; name their folder with M2A_DATA_ROOT")
    return root
