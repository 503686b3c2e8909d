"""Where an object may stand in a road frame, and how it is fitted in there."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from m2a_core.training.data_config import BlendConfig
from m2a_core.training.targets import IGNORE

HORIZON = 0.42
"""Row of the horizon in CamVid, as a share of the height; measured on the vanishing road edges."""
SEAMLESS_MOST = 200
"""Longest side in pixels of an object that is blended with Poisson's equation, whose cost grows with the area."""


def place(
    label: np.ndarray, on_road: float, ground: Sequence[int], rng: np.random.Generator, far: float = 0.0
) -> tuple[int, int, bool]:
    """Draw where a new object stands.

    Args:
        label: uint8 [H, W], class ids.
        on_road: probability that it stands on the ground.
        ground: class ids that objects stand on.
        rng: source of randomness.
        far: probability that its distance decides, each octave as likely as the next, instead of its row.

    Returns:
        Foot x, y in pixels, and whether it stands on the ground.
    """
    height, width = label.shape
    if rng.random() < on_road:
        rows, cols = np.nonzero(np.isin(label[int(HORIZON * height) + 8 :], ground))
        if len(rows):
            # Rows first, so that far road, which has few pixels, is not starved of objects.
            choices = np.unique(rows)
            row = rng.choice(choices)
            if far > 0 and rng.random() < far:
                below = choices + 8.0
                wanted = np.exp(rng.uniform(np.log(below[0]), np.log(below[-1])))
                row = choices[np.abs(below - wanted).argmin()]
            return int(rng.choice(cols[rows == row])), int(row) + int(HORIZON * height) + 8, True
    return int(rng.integers(width)), int(rng.integers(height // 5, height)), False


def size_off_ground(height: int, rng: np.random.Generator) -> float:
    """Draw the longer side, in pixels, of what does not stand on the ground of a frame of ``height`` rows."""
    return float(np.exp(rng.uniform(np.log(10), np.log(max(10, 0.4 * height)))))


def _shade(
    rgb: np.ndarray, alpha: np.ndarray, patch: np.ndarray, blend: BlendConfig, rng: np.random.Generator
) -> np.ndarray:
    inside = alpha > 0.5
    pixels: np.ndarray = rgb.astype(np.float32)
    if inside.any():
        amount = rng.uniform(*blend.match)
        mean, std = pixels[inside].mean(0), pixels[inside].std(0) + 1e-3
        around = patch.reshape(-1, 3).astype(np.float32)
        grey = around.mean()
        # Brightness is matched fully in grey and only a little in colour: a red ball stays red in the evening.
        goal = mean + amount * ((grey - mean.mean()) + 0.25 * (around.mean(0) - grey))
        spread = 1 + amount * (np.clip(around.std() / std.mean(), 0.5, 1.5) - 1)
        pixels = (pixels - mean) * spread + goal
    pixels = pixels * rng.uniform(0.85, 1.15) + rng.normal(0, rng.uniform(*blend.noise), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.float32)


def paste(
    image: np.ndarray,
    label: np.ndarray,
    outlier: np.ndarray,
    rgba: np.ndarray,
    foot: tuple[int, int],
    size: float,
    value: int | None,
    blend: BlendConfig,
    rng: np.random.Generator,
    instances: np.ndarray | None = None,
) -> None:
    """Paste one object, in place.

    Args:
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W]; pixels mostly covered take ``value``, half covered ones become void.
        outlier: bool [H, W]; set where an unknown object covers, cleared where a known one does.
        rgba: uint8 [h, w, 4], the object.
        foot: x, y of the middle of its lower edge, in pixels.
        size: its longer side, in pixels.
        value: class id of a known object, None for an unknown one.
        blend: how it is fitted in.
        rng: source of randomness.
        instances: int32 [H, W], where a known object takes a number of its own; or None.
    """
    mode = blend.modes[0] if len(blend.modes) == 1 else blend.modes[int(rng.integers(len(blend.modes)))]
    factor = size / max(rgba.shape[:2])
    wh = (max(3, round(rgba.shape[1] * factor)), max(3, round(rgba.shape[0] * factor)))
    scaled = cv2.resize(rgba, wh, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    pad = 4
    scaled = cv2.copyMakeBorder(scaled, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    alpha = scaled[..., 3].astype(np.float32) / 255
    alpha[:pad], alpha[-pad:], alpha[:, :pad], alpha[:, -pad:] = 0, 0, 0, 0
    h, w = alpha.shape
    left, top = foot[0] - w // 2, foot[1] - h + pad
    x0, y0, x1, y1 = max(0, left), max(0, top), min(image.shape[1], left + w), min(image.shape[0], top + h)
    if x1 - x0 < 3 or y1 - y0 < 3:
        return
    region = image[y0:y1, x0:x1]
    pixels = _shade(scaled[..., :3], alpha, region, blend, rng)
    blur, edge = rng.uniform(*blend.blur), rng.uniform(*blend.edge)
    if blur > 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    if mode == "hard":
        alpha = (alpha > 0.5).astype(np.float32)
    elif mode == "gaussian" or edge > 0.2:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(1.5, 3.0) if mode == "gaussian" else edge)
    window = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha, pixels = alpha[window], pixels[window]
    if rng.random() < blend.shadow:
        shade = np.zeros(image.shape[:2], np.float32)
        axes = (max(2, w // 2), max(2, w // 8))
        cv2.ellipse(shade, (foot[0], foot[1] - 1), axes, 0, 0, 360, float(rng.uniform(0.2, 0.6)), -1)
        shade = cv2.GaussianBlur(shade, (0, 0), max(1.0, w / 16))
        image[:] = (image * (1 - shade[..., None])).astype(np.uint8)
    if mode == "poisson" and max(h, w) <= SEAMLESS_MOST:
        pixels = _seamless(pixels, alpha, region)
    region[:] = (alpha[..., None] * pixels + (1 - alpha[..., None]) * region).astype(np.uint8)
    covered, touched = alpha > 0.5, (alpha > 0.1) & (alpha <= 0.5)
    label[y0:y1, x0:x1][covered] = IGNORE if value is None else value
    label[y0:y1, x0:x1][touched] = IGNORE
    outlier[y0:y1, x0:x1][covered] = value is None
    outlier[y0:y1, x0:x1][touched] = False
    if instances is not None and value is not None:
        instances[y0:y1, x0:x1][covered] = instances.max() + 1


def _seamless(pixels: np.ndarray, alpha: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The object with its own gradients and the surroundings' colours at its edge (Perez et al., SIGGRAPH 2003)."""
    mask = (alpha > 0.05).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(mask)
    # seamlessClone needs a border around the mask, fails on one of under three pixels, and centres its bounding box.
    if min(width, height) < 3 or mask[[0, -1]].any() or mask[:, [0, -1]].any():
        return pixels
    source = np.rint(pixels).astype(np.uint8)
    center = (x + width // 2, y + height // 2)
    blended: np.ndarray = cv2.seamlessClone(
        source, np.ascontiguousarray(region), mask, center, cv2.NORMAL_CLONE
    ).astype(np.float32)
    return blended
