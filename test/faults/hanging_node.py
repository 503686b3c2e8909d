"""The node, with a network that hangs or fails while a file says so: a fake for an accelerator that does.

python -m test.faults.hanging_node FILE --ros-args ...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import InferenceError
from m2a_core.runtime.factory import create_runtime_or_fall_back
from m2a_ros.node import main, model

HANG, FAIL = "hang", "fail"


class HangingRuntime:
    """A real runtime behind a file."""

    def __init__(self, runtime: Any, file: Path) -> None:
        self._runtime, self._file = runtime, file
        self.input_size, self.batch_sizes = runtime.input_size, runtime.batch_sizes
        self.is_accelerator = True
        self.close = runtime.close

    def submit(self, images: np.ndarray, raw: bool = False) -> Any:
        while (order := self._order()) == HANG:
            time.sleep(0.01)
        if order == FAIL:
            raise InferenceError("the network failed, as it was told to")
        return self._runtime.submit(images, raw)

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        return self.submit(image[None], raw).result()[0]

    def _order(self) -> str:
        return self._file.read_text() if self._file.is_file() else ""


def load(*arguments: Any, **named: Any) -> tuple[HangingRuntime, str]:
    runtime, name = create_runtime_or_fall_back(*arguments, **named)
    return HangingRuntime(runtime, Path(sys.argv[1])), name


if __name__ == "__main__":
    setattr(model, "create_runtime_or_fall_back", load)  # noqa: B010 - not exported
    sys.exit(main.main(sys.argv[2:]))
