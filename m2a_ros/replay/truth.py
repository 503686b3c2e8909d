"""Ground truth by stamp, from a folder: ``<stamp_ns>.png``, in ``<camera>/`` where there are several cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.errors import ConfigError, DataError
from m2a_core.evaluation.files import read_truth
from m2a_core.metrics.pixel import PixelMetrics, PixelResult

_SHOWN = 5


class TruthFolder:
    """Scores anomaly maps against the masks of a folder."""

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        """List the masks.

        Args:
            folder: 8-bit PNGs, 0 known, 1 anomaly, 255 void, at the image's size.
            cameras: names of the cameras that are evaluated.

        Raises:
            DataError: the folder does not exist or holds no mask, or a PNG's name is no stamp.
            ConfigError: several cameras, but one folder for all.
        """
        self._folder = folder
        if not folder.is_dir():
            raise DataError(
                f"--gt {folder}: no such folder; expected masks named by stamp, such as 1700000000040000000.png"
            )
        own = {camera: folder / camera for camera in cameras if (folder / camera).is_dir()}
        if not own and len(cameras) > 1:
            raise ConfigError(
                f"--gt {folder}: {len(cameras)} cameras are evaluated and stamps do not tell them apart; put the masks "
                f"into folders {', '.join(cameras)} in it"
            )
        self._masks: dict[tuple[str, int], Path] = {}
        for camera, place in (own or {cameras[0]: folder}).items():
            self._masks |= {(camera, _stamp(path)): path for path in sorted(place.glob("*.png"))}
        if not self._masks:
            raise DataError(f"--gt {folder}: no .png in it; expected masks named by stamp")
        self._unused = set(self._masks)
        self._metrics = PixelMetrics()
        self._scored = self._without = 0
        self._failed: list[str] = []

    def score(self, camera: str, stamp_ns: int, anomaly: np.ndarray) -> None:
        """Compare a published anomaly map, float32 [H, W], with its mask, if it has one."""
        path = self._masks.get((camera, stamp_ns))
        if path is None:
            self._without += 1
            return
        self._unused.discard((camera, stamp_ns))
        try:
            self._metrics.update(anomaly, read_truth(path))
        except DataError as error:
            self._failed.append(f"{path.name}: {error}")
            return
        self._scored += 1

    def summary(self) -> dict[str, Any]:
        """The figures, for JSON; what is undefined is None."""
        unused = sorted(self._masks[key].relative_to(self._folder).as_posix() for key in self._unused)
        return {
            "folder": str(self._folder),
            "frames_scored": self._scored,
            "frames_without_truth": self._without,
            "masks_without_frame": {"count": len(unused), "first": unused[:_SHOWN]},
            "failed": {"count": len(self._failed), "first": self._failed[:_SHOWN]},
            "pixel": _plain(self._metrics.compute()),
        }


def _stamp(path: Path) -> int:
    if not path.stem.isdecimal():
        raise DataError(f"{path}: the name is no stamp; expected nanoseconds, such as 1700000000040000000.png")
    return int(path.stem)


def _plain(result: PixelResult) -> dict[str, float | int | None]:
    values = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "curve"}
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}
