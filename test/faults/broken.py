"""Cases that go wrong in every way that the campaign must find; for its test."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """Gives a case that fails by its number."""

    def case(rng: random.Random, number: int) -> str:
        match number:
            case 1:
                raise ValueError("not what was expected")
            case 3:
                os.abort()
            case 5:
                time.sleep(1_000)
        return "well" if signal.getsignal(signal.SIGINT) == signal.default_int_handler else "deaf to SIGINT"

    yield case
