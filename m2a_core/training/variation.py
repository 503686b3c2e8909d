"""Which cut-out is pasted next, and how it differs from the last time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from m2a_core.training.data_config import BlendConfig
from m2a_core.training.datasets import Cutout


def draw_weights(cutouts: Sequence[Cutout], favour: Mapping[str, float], shares: Mapping[Path, float]) -> np.ndarray:
    """Probability of each cut-out, float [N]."""
    # Renders are glossy and many: a photograph is as likely as two and a half renders.
    weights = np.array([(1.0 if c.photo else 0.4) * favour.get(c.kind, 1.0) for c in cutouts])
    among = [c.folder if c.folder in shares else None for c in cutouts]
    groups = Counter((folder, c.kind) for folder, c in zip(among, cutouts, strict=True) if folder is not None)
    kinds = Counter(folder for folder, _ in groups)
    rest = np.array([folder is None for folder in among], bool)
    left = 1.0 - sum(share for folder, share in shares.items() if folder in kinds)
    if rest.any():
        weights[rest] *= left / weights[rest].sum()
    for i, (folder, c) in enumerate(zip(among, cutouts, strict=True)):
        if folder is not None:
            weights[i] = shares[folder] / kinds[folder] / groups[folder, c.kind]
    return weights / weights.sum() if len(weights) else weights


def vary(rgba: np.ndarray, blend: BlendConfig, rng: np.random.Generator) -> np.ndarray:
    """Another object of the same kind, as far as a picture can say: other colours, another aspect, a part hidden.

    Args:
        rgba: uint8 [h, w, 4].
        blend: how much.
        rng: source of randomness; not asked for what ``blend`` leaves out.

    Returns:
        uint8 [h', w', 4].
    """
    if blend.recolor > 0 and rng.random() < blend.recolor:
        hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 180)) % 180
        hsv[..., 1] *= rng.uniform(0.3, 1.5)
        hsv[..., 2] = 255 * (hsv[..., 2] / 255) ** np.exp(rng.uniform(-0.6, 0.6))
        rgba = np.dstack([cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB), rgba[..., 3]])
    if blend.stretch > 1:
        factor = float(np.exp(rng.uniform(-1, 1) * np.log(blend.stretch)))
        size = (max(3, round(rgba.shape[1] * factor)), rgba.shape[0])
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    if blend.hide > 0 and rng.random() < blend.hide:
        # Whatever covers it is part of the scene: a stretch from one side is gone.
        rgba = np.rot90(rgba, side := int(rng.integers(4)))
        rgba = np.rot90(rgba[: max(3, round(rgba.shape[0] * rng.uniform(0.5, 1)))], -side)
    return np.ascontiguousarray(rgba)


def rotated(rgba: np.ndarray, degrees: float) -> np.ndarray:
    """A cut-out uint8 [h, w, 4] turned, in a frame that holds all of it."""
    height, width = rgba.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    size = (int(height * sin + width * cos), int(height * cos + width * sin))
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    rgb = cv2.warpAffine(rgba[..., :3], turn, size, borderMode=cv2.BORDER_REPLICATE)
    return np.dstack([rgb, cv2.warpAffine(np.ascontiguousarray(rgba[..., 3]), turn, size)])
