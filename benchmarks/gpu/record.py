"""A benchmark's record: what ran on what, step by step, written after each so that nothing is lost."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.clocks import clocks
from m2a_core.ops.compile import find_nvcc

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
Row = dict[str, Any]


class Skipped(Exception):
    """A step cannot run here; the message says what is missing."""


class Record:
    """The figures, and whether all is well.

    Attributes:
        data: what is written.
        failed: names of the steps that failed.
    """

    def __init__(self, out: Path, rehearsal: bool, commit: str | None) -> None:
        """Begin, and show that the file can be written.

        Raises:
            OSError: it cannot.
        """
        self.out = out
        self.failed: list[str] = []
        self.data: dict[str, Any] = {"environment": environment(rehearsal, commit), "finished": False, "steps": {}}
        out.parent.mkdir(parents=True, exist_ok=True)
        self.save()

    def step(self, name: str, work: Callable[[], Iterable[Row]]) -> bool:
        """Do one step and save; whatever happens in it, the next can follow.

        Args:
            name: of the step.
            work: gives rows; one with ``ok`` false fails the step, ``Skipped`` leaves it out.

        Returns:
            Whether it passed.
        """
        print(f"== {name}", flush=True)
        entry: dict[str, Any] = {"status": PASSED, "clocks_before": clocks(), "rows": []}
        self.data["steps"][name] = entry
        start = time.monotonic()
        try:
            for row in work():
                print(row, flush=True)
                entry["rows"].append(row)
            if not all(row.get("ok", True) for row in entry["rows"]):
                entry["status"] = FAILED
        except Skipped as reason:
            entry |= {"status": SKIPPED, "reason": str(reason)}
        except KeyboardInterrupt:
            entry |= {"status": FAILED, "error": "interrupted"}
            raise
        except Exception:  # noqa: BLE001 - a step that breaks must not take the others along
            entry |= {"status": FAILED, "error": traceback.format_exc()}
            print(entry["error"], flush=True)
        finally:
            entry |= {"seconds": time.monotonic() - start, "clocks_after": clocks()}
            if entry["status"] == FAILED:
                self.failed.append(name)
            self.save()
        print(f"== {name}: {entry['status']} {entry.get('reason', '')}", flush=True)
        return entry["status"] == PASSED

    def finish(self) -> None:
        """Say that no step is missing."""
        self.data["finished"] = True
        self.save()

    def save(self) -> None:
        """Replace the file by what is known now."""
        staged = self.out.with_name(f".{os.getpid()}.{self.out.name}")
        staged.write_text(json.dumps(self.data, indent=1) + "\n")
        staged.replace(self.out)


def environment(rehearsal: bool, commit: str | None) -> dict[str, Any]:
    """What a figure needs beside it; nothing here has to be installed."""
    nvcc = find_nvcc()
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rehearsal": rehearsal,
        "commit": commit or _said("git", "rev-parse", "HEAD") or "unknown: no git here, name it with --commit",
        "changed_files": _said("git", "status", "--porcelain").splitlines(),
        "machine": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "nvcc": (_said(str(nvcc), "--version").splitlines() or [None])[-1] if nvcc else None,
        "driver": _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or None,
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "gpu_memory_gib": properties.total_memory / 2**30,
            "architecture": f"sm_{properties.major}{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _said(*command: str) -> str:
    """What a program printed, or nothing where there is no such program or it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
