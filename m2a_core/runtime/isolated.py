"""A back end in a process of its own: what crashes, hangs or loses the GPU there is killed, and this process goes on.

After CUDA's sticky errors every call of a process fails (https://docs.nvidia.com/cuda/cuda-runtime-api/: "the process
must be terminated and relaunched"); in a child, that costs the frames until a new one has loaded.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from m2a_core import errors
from m2a_core.bundle.signing import Trust
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import InferenceError, M2aError, ModelError, RestartNeededError
from m2a_core.runtime.base import Pending

_LOOK_S, _END_S = 0.1, 1.0


@dataclass(frozen=True)
class Order:
    """What a child loads; arguments of ``load_bundle`` and ``create_runtime_or_fall_back``.

    Attributes:
        onnx_sha256: of the graph that this process has the manifest of: the child may find another one by then.
    """

    bundle: Path
    onnx_sha256: str
    trust: Trust
    backend: str
    fallback: str
    threads: int | None
    device: int


@dataclass(frozen=True)
class Loaded:
    """What a child says once it has loaded; ``notes`` are its warnings."""

    input_size: tuple[int, int]
    batch_sizes: tuple[int, ...]
    backend: str
    notes: tuple[str, ...]


class IsolatedRuntime:
    """Runs a bundle's network in a child process; see ``Runtime``.

    Attributes:
        input_size: H, W.
        batch_sizes: the child's.
        is_accelerator: True: it works beside this process.
        backend: what runs the network, which is not the one that was asked for after a fall-back.
        notes: warnings of loading.
        pid: of the child.
    """

    is_accelerator = True

    def __init__(self, order: Order, load_s: float) -> None:
        """Start the child and wait until it has loaded.

        Args:
            order: what to load.
            load_s: seconds after which it is killed.

        Raises:
            ConfigError, ModelError, InferenceError: the child's own; or it ended, or did not load in time.
        """
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "m2a_core.runtime.isolated_child", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # Ctrl-C is for this process, which then ends its child.
            start_new_session=True,
        )
        theirs.close()
        self.pid = self._process.pid
        try:
            self._connection.send(order)
            loaded = self._receive(load_s)
        except (RestartNeededError, OSError) as error:
            how = error if isinstance(error, RestartNeededError) else self._end()
            self.close()
            raise ModelError(f"{order.bundle}: while the model was loaded, {how}") from error
        except BaseException:
            self.close()
            raise
        assert isinstance(loaded, Loaded)
        self.input_size, self.batch_sizes, self.backend = loaded.input_size, loaded.batch_sizes, loaded.backend
        self.notes = loaded.notes

    def submit(self, images: np.ndarray, raw: bool = False) -> Pending:
        """Start the network on a batch; see ``Runtime.submit``.

        Raises:
            RestartNeededError: the child is gone.
        """
        try:
            self._connection.send((images, raw))
        except (OSError, ValueError) as error:
            raise RestartNeededError(self._end()) from error
        return _Answer(self)

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """Run the network on one image; see ``Runtime.infer``."""
        return self.submit(image[None], raw).result()[0]

    def result(self) -> list[NetworkOutput]:
        """The answer to the last batch; see ``Pending.result``."""
        outputs: list[NetworkOutput] = self._receive()
        return outputs

    def ended(self) -> str:
        """How the child ended; "" while it lives."""
        return "" if self._process.poll() is None else self._end()

    def close(self) -> None:
        """Kill the child, whatever it does; a call that waits for it ends with an error. May be called again.

        One that is in its driver's hands dies only when that lets it go, and is not waited for longer than ``_END_S``.
        """
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def _receive(self, seconds: float | None = None) -> Any:
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            while not self._connection.poll(_LOOK_S):
                if deadline is not None and time.monotonic() > deadline:
                    raise ModelError(
                        f"the network's process did not load within {seconds:.0f} s and was killed: the graph is too "
                        "large for this machine, or the accelerator hangs"
                    )
            said = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RestartNeededError(self._end()) from error
        except (MemoryError, UnpicklingError) as error:
            # What is left of the answer would be taken for the next one's.
            self.close()
            raise RestartNeededError(f"an answer of the network's process could not be read ({error!r})") from error
        if isinstance(said, ChildError):
            raise said.rebuilt()
        return said

    def _end(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        # Where this thread stood still meanwhile, another one may have seen the end.
        code = self._process.poll()
        if code is None:
            return "the network's process closed its connection"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"the network's process ended {how}"


@dataclass(frozen=True)
class ChildError:
    """An error of the child: name of its class in ``m2a_core.errors``, and its text."""

    name: str
    text: str

    def rebuilt(self) -> M2aError:
        """The error, of the same class."""
        kind = getattr(errors, self.name, InferenceError)
        error: M2aError = kind(self.text)
        return error


class _Answer:
    """A batch that the child works on."""

    def __init__(self, runtime: IsolatedRuntime) -> None:
        self._runtime = runtime

    def result(self) -> list[NetworkOutput]:
        """See ``Pending.result``."""
        return self._runtime.result()


def connect(number: int) -> Connection:
    """The child's end, by the number of its file."""
    return Connection(number)
