"""A network in a process of its own: the same answers; its end, its hanging and its errors cost no more than frames."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m2a_core.bundle.loading import load_bundle
from m2a_core.bundle.signing import ANYBODY
from m2a_core.errors import DataError, ModelError, RestartNeededError
from m2a_core.runtime import factory
from m2a_core.runtime.factory import create_runtime, require_answer
from m2a_core.runtime.isolated import IsolatedRuntime, Order
from test.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow
LOAD_S = 60.0
IMAGE = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("isolated") / "tiny", (32, 48))


def order_of(bundle: Path) -> Order:
    return Order(bundle, load_bundle(bundle).manifest.onnx_sha256, ANYBODY, "onnxruntime", "", 1, 0)


@pytest.fixture
def isolated(bundle: Path) -> Iterator[IsolatedRuntime]:
    runtime = IsolatedRuntime(order_of(bundle), LOAD_S)
    yield runtime
    runtime.close()


def test_answers_are_those_of_the_back_end(isolated: IsolatedRuntime, bundle: Path) -> None:
    expected = create_runtime(load_bundle(bundle), threads=1).infer(IMAGE)
    found = isolated.infer(IMAGE)
    assert (isolated.input_size, isolated.batch_sizes, isolated.backend) == ((32, 48), (1,), "onnxruntime")
    for name in ("anomaly", "semantic", "query_masks", "class_probs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_an_error_of_the_child_keeps_its_class_and_the_child_goes_on(isolated: IsolatedRuntime) -> None:
    with pytest.raises(DataError, match="network input"):
        isolated.infer(IMAGE[:8])
    assert isolated.infer(IMAGE).anomaly.shape == (32, 48)


def test_a_child_that_dies_is_told_by_its_signal(isolated: IsolatedRuntime) -> None:
    os.kill(isolated.pid, signal.SIGKILL)
    with pytest.raises(RestartNeededError, match="ended by signal 9"):
        isolated.infer(IMAGE)


def test_a_child_that_hangs_is_killed_by_close_and_who_waits_for_it_is_told(isolated: IsolatedRuntime) -> None:
    os.kill(isolated.pid, signal.SIGSTOP)
    said: list[str] = []

    def wait() -> None:
        try:
            isolated.infer(IMAGE)
        except RestartNeededError as error:
            said.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    isolated.close()
    waiting.join(30.0)
    assert said == ["the network's process ended by signal 9"]


def test_a_child_that_cannot_be_killed_yet_is_not_waited_for(
    isolated: IsolatedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As of a process that waits in a driver: the signal does nothing for now.
        patched.setattr(subprocess.Popen, "kill", lambda process: None)
        closing = threading.Thread(target=isolated.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()


def test_an_answer_that_is_read_in_part_is_not_mixed_with_the_next(
    isolated: IsolatedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(connection: Connection) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "recv", lack)
        with pytest.raises(RestartNeededError, match="MemoryError"):
            isolated.infer(IMAGE)
    assert "signal 9" in isolated.ended()


def test_a_bundle_that_cannot_be_loaded_is_refused_by_the_child(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        IsolatedRuntime(Order(tmp_path / "missing", "", ANYBODY, "onnxruntime", "", 1, 0), LOAD_S)


def test_a_bundle_that_is_replaced_while_its_child_starts_is_refused(bundle: Path, tmp_path: Path) -> None:
    """The parent would read the classes of one network out of the answers of another."""
    order = replace(order_of(bundle), bundle=write_tiny_bundle(tmp_path / "tiny", (64, 48)))
    with pytest.raises(ModelError, match="was replaced while it was loaded"):
        IsolatedRuntime(order, LOAD_S)


def test_a_child_that_ends_before_it_is_told_what_to_load_is_named(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = start(["/bin/sh", "-c", "exit 7"], **options)
        process.wait()
        return process

    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", ended)
    with pytest.raises(ModelError, match="tiny: while the model was loaded, .* ended with exit code 7"):
        IsolatedRuntime(order_of(bundle), LOAD_S)


def test_a_child_that_does_not_load_in_time_is_killed(bundle: Path) -> None:
    with pytest.raises(ModelError, match="did not load within 0 s"):
        IsolatedRuntime(order_of(bundle), 0.0)


def test_a_graph_that_does_not_load_in_time_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "CPU_LOAD_S", 0.1)
    monkeypatch.setattr("m2a_core.runtime.onnx_runtime.OnnxRuntime", lambda *_: threading.Event().wait())
    with pytest.raises(ModelError, match=r"tiny\.onnx: 'onnxruntime' did not load the graph within 0 s"):
        create_runtime(load_bundle(bundle), threads=1)


class NeverAnswers:
    """A fake for an accelerator that hangs at its first batch."""

    input_size = (32, 48)

    def infer(self, image: np.ndarray, raw: bool = False) -> Any:
        threading.Event().wait()


def test_a_network_that_gives_no_first_answer_is_refused_at_load(bundle: Path) -> None:
    never: Any = NeverAnswers()
    with pytest.raises(ModelError, match=r"somewhere: .* no answer within 0 s of loading"):
        require_answer(never, "somewhere", seconds=0.1)
    require_answer(create_runtime(load_bundle(bundle), threads=1), "tiny", LOAD_S)
