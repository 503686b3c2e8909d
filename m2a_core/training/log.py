"""The log of a run: one JSON line per step and validation, and the same for TensorBoard where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m2a_core.files import json_text
from m2a_core.progress import ProgressBar
from m2a_core.training.errors import TrainingError


class RunLog:
    """Writes ``metrics.jsonl`` and ``tensorboard/``."""

    def __init__(self, out: Path, enabled: bool) -> None:
        """Open the log.

        Args:
            out: folder of the run; must exist.
            enabled: False in all processes but the main one.
        """
        self.path, self.enabled = out / "metrics.jsonl", enabled
        self.writer: Any = None
        if enabled:
            _drop_begun_line(self.path)
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError:
                return
            self.writer = SummaryWriter(str(out / "tensorboard"))

    def add(self, kind: str, record: dict[str, Any], step: int) -> None:
        """Add a record.

        Args:
            kind: ``train`` or ``validation``.
            record: values by name; those that are not finite are null in the file.
            step: over all stages.

        Raises:
            TrainingError: the file cannot be written.
        """
        if not self.enabled:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json_text({"kind": kind, **record}) + "\n")
        except OSError as error:
            raise TrainingError(
                f"{self.path}: cannot be written ({error.strerror}); free some space, then go on with --resume"
            ) from error
        try:
            for key, value in record.items():
                if self.writer is not None and isinstance(value, float):
                    self.writer.add_scalar(f"{kind}/{key}", value, step)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Write what is left."""
        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # metrics.jsonl holds the same: no reason to lose a step, or the error that is under way.
        self.writer = None
        ProgressBar.write(f"TensorBoard's log is given up ({error.strerror or error}); {self.path} goes on")


def _drop_begun_line(path: Path) -> None:
    """Take away what a full disk left of a line: the next one would be written behind it, and both be lost."""
    try:
        with path.open("r+b") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
    except OSError:
        # There is none yet, or it cannot be written: then the next line says so.
        return
