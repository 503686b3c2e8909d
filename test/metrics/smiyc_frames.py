"""Three small frames made by arithmetic alone, so that reference values stay valid on any NumPy version."""

from __future__ import annotations

import numpy as np


def frames() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return score float32 [120, 160] in [0, 1] and truth uint8 (0, 1, 255) of three frames."""
    y, x = np.mgrid[0:120, 0:160]
    made = []
    for k in range(3):
        truth = np.zeros((120, 160), np.uint8)
        truth[(y - 40) ** 2 + (x - 30 - 20 * k) ** 2 < 15**2] = 1
        truth[(y - 80) ** 2 + (x - 110) ** 2 < (4 + 7 * k) ** 2] = 1
        truth[60 + k : 63 + k, 70:73] = 1
        truth[110:] = 255
        truth[:8, : 30 * k] = 255
        waves = np.sin(0.11 * x + k) + np.cos(0.07 * y * (1 + k / 3)) + 0.5 * np.sin(0.9 * x + 1.3 * y)
        near = np.exp(-(((y - 42) ** 2 + (x - 33 - 20 * k) ** 2) / 250))
        near += np.exp(-(((y - 78) ** 2 + (x - 108) ** 2) / 120))
        score = 1 / (1 + np.exp(-(1.1 * waves + 5 * near - 3.5)))
        made.append((score.astype(np.float32), truth))
    return made
