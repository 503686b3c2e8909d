"""What a network's answers look like on the frames that a model was calibrated on; part of its manifest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from m2a_core.errors import ConfigError

FEATURES = 7
"""Figures of an answer; ``m2a_core.stream.drift.features`` says which."""


@dataclass(frozen=True)
class ScoreProfile:
    """Distribution of the figures of calibration frames' answers.

    Attributes:
        center: median of each figure.
        scale: spread of each, more than 0.
        precision: inverse correlation of the scaled figures, ``FEATURES`` rows.
        limit: distance that 95 % of the calibration frames keep to, each judged by the others.
        frames: how many there were.

    Raises:
        ConfigError: a number is not finite or out of range, or there are too few or too many.
    """

    center: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float
    frames: int

    def __post_init__(self) -> None:
        """Validate."""
        rows = (self.center, self.scale, *self.precision)
        if len(rows) != FEATURES + 2 or any(len(row) != FEATURES for row in rows):
            raise ConfigError(f"score profile: expected {FEATURES} figures, in each row of 'precision' too")
        numbers = [*(x for row in rows for x in row), self.limit]
        if not all(math.isfinite(x) for x in numbers) or min(self.scale) <= 0 or self.limit <= 0 or self.frames < 1:
            raise ConfigError("score profile: expected finite numbers, 'scale', 'limit' and 'frames' above 0")

    def distance(self, figures: np.ndarray) -> np.ndarray:
        """How far answers are from the calibration's: the root of the mean squared deviation, decorrelated.

        Args:
            figures: float64 [N, FEATURES].

        Returns:
            float64 [N], at least 0; about 1 for the calibration's own.
        """
        z = (figures - np.array(self.center)) / np.array(self.scale)
        squares = np.einsum("ni,ij,nj->n", z, np.array(self.precision), z)
        root: np.ndarray = np.sqrt(np.maximum(squares, 0.0) / FEATURES)
        return root

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)
