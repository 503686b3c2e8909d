"""Known things that are easily taken for unknown: what lies flat in the road, and what is written over an image."""

from __future__ import annotations

import string

import cv2
import numpy as np

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)


def mark_road(image: np.ndarray, label: np.ndarray, rng: np.random.Generator, road: int) -> np.ndarray:
    """Draw one to three flat things on the road: lids, mended asphalt, puddles, light between leaves.

    Args:
        image: uint8 [H, W, 3], RGB; not changed.
        label: uint8 [H, W], class id or 255.
        rng: source of randomness.
        road: class id of the road.

    Returns:
        uint8 [H, W, 3].
    """
    rows, cols = np.nonzero(label == road)
    if len(rows) < 200:
        return image
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice(4, p=(0.45, 0.2, 0.2, 0.15))
        pick = int(rng.integers(len(rows)))
        if kind == 0:
            image = _lid(image, label == road, (int(cols[pick]), int(rows[pick])), rng)
        elif kind == 1:
            image = _patch(image, label == road, (int(cols[pick]), int(rows[pick])), rng)
        else:
            image = _blobs(image, label == road, rng, mirror=kind == 2)
    return image


def write_text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write one to three lines of random text over an image uint8 [H, W, 3]; gives a new one."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    letters = list(string.ascii_letters + string.digits + "   :-/.")
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(rng.choice(letters, int(rng.integers(4, 28))))
        scale = float(np.exp(rng.uniform(np.log(0.3), np.log(1.6)))) * height / 400
        where = (int(rng.uniform(-0.05, 0.8) * width), int(rng.uniform(0.05, 1.0) * height))
        thick = max(1, round(scale * rng.uniform(1, 3)))
        cv2.putText(cover, text, where, int(rng.choice(_FONTS)), scale, 255, thick, cv2.LINE_AA)
    tint = np.full(3, rng.uniform(180, 255)) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    return _over(image, cover.astype(np.float32) / 255 * rng.uniform(0.3, 1.0), tint)


def _lid(image: np.ndarray, road: np.ndarray, at: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A round or square lid or grating, foreshortened, with a rim and a pattern."""
    height, width = road.shape
    # Flat things shrink with the distance in height twice as fast as in width.
    depth = np.clip((at[1] / height - 0.4) / 0.6, 0.03, 1.0)
    half_w = max(2.0, width * 0.06 * depth * rng.uniform(0.6, 1.6))
    half_h = max(1.0, half_w * np.clip(depth * rng.uniform(0.35, 0.8), 0.08, 0.7))
    cover = np.zeros(road.shape, np.uint8)
    if rng.random() < 0.75:
        cv2.ellipse(cover, at, (round(half_w), round(half_h)), rng.uniform(-6, 6), 0, 360, 255, -1, cv2.LINE_AA)
    else:
        lean = half_h * rng.uniform(-0.8, 0.8)
        corners = [
            (-half_w + lean, -half_h),
            (half_w + lean, -half_h),
            (half_w - lean, half_h),
            (-half_w - lean, half_h),
        ]
        cv2.fillPoly(cover, [np.rint(np.array(corners) + at).astype(np.int32)], 255, cv2.LINE_AA)
    rim = cv2.morphologyEx(cover, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    step = int(rng.integers(2, 9))
    y, x = np.ogrid[:height, :width]
    pattern = [(x // step + y // step) % 2, (x // step) % 2 + 0 * y, (y // step) % 2 + 0 * x, 0 * (x + y)][
        rng.integers(4)
    ]
    grey = rng.uniform(20, 170)
    tint = (grey + pattern[..., None] * rng.uniform(-50, 50)) * rng.uniform(0.92, 1.08, 3)
    drawn = _over(image, _soft(cover, road, rng) * rng.uniform(0.5, 1.0), tint)
    return _over(drawn, _soft(rim, road, rng) * rng.uniform(0.0, 0.8), np.full(3, rng.uniform(10, 200)))


def _patch(image: np.ndarray, road: np.ndarray, at: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Mended asphalt: a lighter or darker strip that keeps the road's texture."""
    height, width = road.shape
    depth = np.clip((at[1] / height - 0.4) / 0.6, 0.03, 1.0)
    half_w, half_h = width * 0.25 * depth * rng.uniform(0.2, 1.5), height * 0.12 * depth * rng.uniform(0.2, 1.5)
    corners = np.array([(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)])
    corners = corners * rng.uniform(0.7, 1.3, (4, 2)) + at
    cover = np.zeros(road.shape, np.uint8)
    cv2.fillPoly(cover, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_AA)
    return _over(image, _soft(cover, road, rng), image * rng.uniform(0.45, 1.45))


def _blobs(image: np.ndarray, road: np.ndarray, rng: np.random.Generator, mirror: bool) -> np.ndarray:
    """Puddles that mirror what stands above them, or light and shade as under a tree."""
    height, width = road.shape
    cells = (int(rng.integers(6, 24)), int(rng.integers(8, 40)))
    noise = cv2.resize(rng.random(cells, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    middle, half = rng.uniform(0.5, 1.0) * height, rng.uniform(0.08, 0.4) * height
    band = np.abs(np.arange(height)[:, None] - middle) < half
    cover = ((noise > rng.uniform(0.45, 0.75)) & band).astype(np.uint8) * 255
    strength = rng.uniform(0.3, 0.75)
    if not mirror:
        return _over(image, _soft(cover, road, rng) * strength, image * rng.uniform(0.3, 1.7))
    top = int(np.flatnonzero(road.any(1))[0])
    turned = image[np.clip(2 * top - np.arange(height), 0, height - 1)]
    return _over(image, _soft(cover, road, rng) * strength, cv2.GaussianBlur(turned, (0, 0), rng.uniform(1, 5)))


def _soft(cover: np.ndarray, road: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover 0 .. 1 on the road alone, its edge as a camera shows it: float32 [H, W]."""
    soft = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.6)).astype(np.float32) / 255
    return np.asarray(soft * road, np.float32)


def _over(image: np.ndarray, alpha: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """``alpha`` float [H, W] of ``tint``, a colour or an image, over an image uint8 [H, W, 3]."""
    covered: np.ndarray = np.clip(np.rint(image + alpha[..., None] * (tint - image)), 0, 255).astype(np.uint8)
    return covered
