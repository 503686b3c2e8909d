"""The child of ``IsolatedRuntime``: loads a network, and answers batches until its parent ends."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import InferenceError, M2aError, ModelError, RestartNeededError
from m2a_core.runtime.factory import create_runtime_or_fall_back
from m2a_core.runtime.isolated import ChildError, Loaded, Order, connect

_LOOK_S = 0.5


def main() -> int:
    """Serve the connection whose file's number is the only argument; returns the exit code."""
    _end_with_parent()
    connection = connect(int(sys.argv[1]))
    try:
        order: Order = connection.recv()
        notes: list[str] = []
        try:
            bundle = load_bundle(order.bundle, order.trust)
            if bundle.manifest.onnx_sha256 != order.onnx_sha256:
                raise ModelError(
                    f"{order.bundle}: the bundle was replaced while it was loaded; load it again, so that its classes "
                    "are those of its graph"
                )
            runtime, backend = create_runtime_or_fall_back(
                bundle,
                order.backend,
                order.fallback,
                notes.append,
                order.threads,
                order.device,
            )
        except M2aError as error:
            connection.send(ChildError(type(error).__name__, str(error)))
            return error.exit_code
        connection.send(Loaded(runtime.input_size, tuple(runtime.batch_sizes), backend, tuple(notes)))
        while True:
            images, raw = connection.recv()
            try:
                connection.send(runtime.submit(images, raw).result())
            except M2aError as error:
                connection.send(ChildError(type(error).__name__, str(error)))
                if isinstance(error, RestartNeededError):
                    # This process is of no use any more.
                    return error.exit_code
            except Exception:  # noqa: BLE001 - the parent reports it in full
                connection.send(ChildError(InferenceError.__name__, traceback.format_exc()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 0


def _end_with_parent() -> None:
    """A child that hangs would not see that its connection is closed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(0)

    threading.Thread(target=watch, name="m2a_parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
