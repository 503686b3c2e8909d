"""What all tests need."""

from __future__ import annotations

import gc
import os

# Before PyTorch is imported: several processes share the cores, and OpenMP's threads wait for each other by spinning,
# which takes several times the processor time of the work itself. Processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from m2a_core.errors import ModelError
from m2a_core.ops.compile import find_nvcc
from m2a_core.trt.headers import download_headers
from m2a_core.trt.plugin_build import ensure_plugin, find_headers
from m2a_ros.process.shared_memory import remove_left_segments
from test.tiny_bundle import write_tiny_bundle

# Until everything is imported: a fifth of the time that takes.
gc.disable()

# A shell starts background jobs with SIGINT ignored, and their children inherit that: interrupts could not be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine stalls for longer than hypothesis' 0.2 s an example.
settings.register_profile("m2a", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=15)
settings.load_profile("m2a")

SLOW_FIXTURES = {"exported", "papers_graph", "batched", "plugin", "wheel", "bare_python", "whole"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Free what killed nodes of earlier runs left: it is memory, and some tests need a lot."""
    remove_left_segments()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """As at the start."""
    remove_left_segments()


def pytest_collection_finish() -> None:
    """Keep modules and tests out of later garbage collections: a tenth of the time of small tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has a ROS domain or needs files that take long to make (other tests are marked where they are).

    Files with tests over DDS and other slow ones come first, taking turns: the former wait for what the latter need,
    processor time. Short ones come last: else one process would wait at the end for the others.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "domain" in fixtures:
            item.add_marker("dds")
        if fixtures & SLOW_FIXTURES:
            item.add_marker("slow")
    dds = dict.fromkeys(item.path for item in items if item.get_closest_marker("dds"))
    slow = dict.fromkeys(item.path for item in items if item.get_closest_marker("slow") and item.path not in dds)
    turn = {path: number for paths in (dds, slow) for number, path in enumerate(paths)}
    items.sort(key=lambda item: turn.get(item.path, len(turn)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose answers can be read off the picture; tests must not change it."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tensorrt_headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine's, or downloaded ones: 0.2 MB, checked by hash."""
    try:
        return find_headers()
    except ModelError:
        folder = tmp_path_factory.mktemp("tensorrt_headers")
    try:
        download_headers(folder)
    except ModelError as error:
        pytest.skip(f"no headers of TensorRT here, and {error}")
    return folder


@pytest.fixture(scope="session")
def plugin(tensorrt_headers: Path) -> Path:
    """The TensorRT plugin's library, for one architecture."""
    if find_nvcc() is None or shutil.which("cmake") is None:
        pytest.skip("no nvcc or no cmake: the plugin cannot be built")
    # Kept between runs: compiling takes longer than all tests here, and the folder's entries are named by contents.
    cache = Path(tempfile.gettempdir(), f"m2a-test-plugin-{os.getuid()}")
    with FileLock(cache.with_suffix(".lock")):
        return ensure_plugin(cache, tensorrt_headers, architectures=(89,))
