"""A process that works off cases and tells of each on standard output; see `test.faults.campaign`."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

from test.faults.measured import take


def main() -> int:
    part, seed, first, last, folder = sys.argv[1:]
    # A shell that runs the campaign in the background has SIGINT ignored, and so would a node be started: the signal
    # would be lost until the node sets a handler of its own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What the code under test prints must not be taken for a report.
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module = import_module(f"test.faults.{part}")
    if limit := getattr(module, "MEMORY", None):
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    with module.site(Path(folder)) as case:
        for number in range(int(first), int(last)):
            report.write(f"begin {number}\n")
            try:
                outcome = case(random.Random(f"{seed} {part} {number}"), number)
            except Exception as error:  # noqa: BLE001 - the finding
                trace = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__} in {Path(trace.filename).name}:{trace.lineno}: {error}"
                report.write(f"fault {number} {text[:600]!r}\n")
            else:
                report.write(f"end {number} {outcome}\n")
            for promise, seconds in take():
                report.write(f"measured {seconds:.3f} {promise}\n")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of a library that outlive the last case are not what is looked at.
    os._exit(code)
