"""A stand-in for the accelerator: it sleeps as long as an accelerator would work, and gives a real network's answer.

A fake, named so: it takes no processor time, and says the same of every image. What is measured around it is the node.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from m2a_core.bundle.loading import ModelBundle
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.images import read_image
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Pending
from m2a_core.runtime.onnx_runtime import OnnxRuntime

DEMO_FRAME = Path(__file__).parent.parent / "config" / "demo" / "frames" / "000.jpg"
_LAYOUT = struct.Struct("ddd")


class BusyTime:
    """Seconds that the stand-in has worked, images and batches, in a file that another process reads."""

    def __init__(self, path: Path, create: bool) -> None:
        """Map the file; ``create`` in the process that writes."""
        if create:
            path.write_bytes(_LAYOUT.pack(0.0, 0.0, 0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def add(self, seconds: float, images: int) -> None:
        """Note down a batch."""
        busy, count, batches = self.read()
        _LAYOUT.pack_into(self._map, 0, busy + seconds, count + images, batches + 1)

    def read(self) -> tuple[float, float, float]:
        """Seconds, images, batches so far."""
        busy, images, batches = _LAYOUT.unpack_from(self._map)
        return busy, images, batches


class StandInAccelerator:
    """Behind the interface of every runtime.

    Attributes:
        input_size: H, W.
        batch_sizes: that it takes.
        is_accelerator: True: it works beside the processor.
    """

    is_accelerator = True

    def __init__(self, bundle: ModelBundle, milliseconds: Mapping[int, float], busy: BusyTime) -> None:
        """Ask the real network once.

        Args:
            bundle: whose network's answer is given.
            milliseconds: by batch size.
            busy: where its work is noted down.
        """
        network = OnnxRuntime(bundle)
        self.input_size = network.input_size
        self._output = network.infer(Letterbox(self.input_size).apply(read_image(DEMO_FRAME))[0])
        network.close()
        self._milliseconds, self._busy = dict(milliseconds), busy
        self.batch_sizes = tuple(sorted(milliseconds))

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        """One image."""
        return self.submit(image[None], raw).result()[0]

    def submit(self, images: np.ndarray, raw: bool = False) -> Pending:
        """A batch of a size that it has."""
        return _Working(self._milliseconds[len(images)] / 1e3, self._busy, [self._output] * len(images))

    def close(self) -> None:
        """Nothing to free."""


class _Working:
    """A batch that it works on beside the processor."""

    def __init__(self, seconds: float, busy: BusyTime, outputs: list[NetworkOutput]) -> None:
        self._start, self._seconds = time.perf_counter(), seconds
        self._busy, self._outputs = busy, outputs

    def result(self) -> list[NetworkOutput]:
        """See ``Pending.result``."""
        time.sleep(max(0.0, self._start + self._seconds - time.perf_counter()))
        self._busy.add(time.perf_counter() - self._start, len(self._outputs))
        return self._outputs
