"""Augmentation of road frames: colour, degradation, scale, crop and padding."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.labels.builtin import CAMVID11
from m2a_core.preprocess import PADDING_COLOR
from m2a_core.training.config import AugmentConfig
from m2a_core.training.hard_negatives import mark_road, write_text
from m2a_core.training.targets import IGNORE


def augment(
    image: np.ndarray,
    label: np.ndarray,
    outlier: np.ndarray,
    cfg: AugmentConfig,
    rng: np.random.Generator,
    instances: np.ndarray | None = None,
    road: int | None = CAMVID11.road,
    wanted: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Augment one frame and cut the training crop.

    Args:
        image: uint8 [H0, W0, 3], RGB.
        label: uint8 [H0, W0], class id or 255.
        outlier: bool [H0, W0].
        cfg: what to do.
        rng: source of randomness.
        instances: int32 [H0, W0], or None.
        road: class id of the road, which stripes and marks are drawn on, or None.
        wanted: the class that a crop on a class is centred on, where the frame shows it; None = one at random.

    Returns:
        The same four at the crop's size; padding is the mean colour, void, no outlier and no instance.
    """
    height, width = cfg.crop
    if rng.random() < cfg.road_paint and road is not None:
        image = paint_road(image, label, rng, road)
    # A probability of 0 draws no number: stages without these see the same numbers as before there were any.
    if cfg.road_marks > 0 and rng.random() < cfg.road_marks and road is not None:
        image = mark_road(image, label, rng, road)
    if cfg.text > 0 and rng.random() < cfg.text:
        image = write_text(image, rng)
    if rng.random() < cfg.letterbox:
        scale_y = scale_x = min(height / image.shape[0], width / image.shape[1]) * rng.uniform(0.6, 1.0)
    else:
        scale = rng.uniform(*cfg.scale) if cfg.scale_draw == "uniform" else np.exp(rng.uniform(*np.log(cfg.scale)))
        if cfg.scale_base == "crop":
            scale *= min(height / image.shape[0], width / image.shape[1])
        elif cfg.scale_base == "height":
            scale *= height / image.shape[0]
        stretch = np.exp(rng.uniform(-1, 1) * np.log(cfg.aspect) / 2)
        scale_y, scale_x = scale / stretch, scale * stretch
    # The crop is cut at the source's resolution first: scaling pixels that are thrown away costs most of the time.
    cut_h, cut_w = (
        min(full, max(1, round(side / scale)))
        for full, side, scale in zip(image.shape, (height, width), (scale_y, scale_x), strict=False)
    )
    focus = _focus(label, outlier, rng, wanted) if rng.random() < cfg.rare_crop else None
    y = _start(image.shape[0], cut_h, None if focus is None else focus[0], rng)
    x = _start(image.shape[1], cut_w, None if focus is None else focus[1], rng)
    window = (slice(y, y + cut_h), slice(x, x + cut_w))
    size = (max(1, min(width, round(cut_w * scale_x))), max(1, min(height, round(cut_h * scale_y))))
    shrink = cv2.INTER_AREA if scale_y < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image[window], size, interpolation=shrink)
    ids = cv2.resize(label[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    odd = cv2.resize(outlier[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    # The nearest pixels by index: OpenCV resizes no 32-bit integers. The same pixels as INTER_NEAREST_EXACT takes.
    parts = None if instances is None else _nearest(instances[window], size)
    if rng.random() < cfg.flip:
        small, ids, odd = small[:, ::-1], ids[:, ::-1], odd[:, ::-1]
        parts = None if parts is None else parts[:, ::-1]
    small = degrade(color_jitter(small, cfg.color, rng), cfg.degrade, rng)
    out = np.empty((height, width, 3), np.uint8)
    out[:] = PADDING_COLOR
    out_label = np.full((height, width), IGNORE, np.uint8)
    out_outlier = np.zeros((height, width), bool)
    valid = (slice(0, size[1]), slice(0, size[0]))
    out[valid], out_label[valid], out_outlier[valid] = small, ids, odd.astype(bool)
    out_instances = None
    if parts is not None:
        out_instances = np.zeros((height, width), np.int32)
        out_instances[valid] = parts
    return out, out_label, out_outlier, out_instances


def _nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour to (width, height), at pixel centres."""
    rows, cols = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(size[::-1], ids.shape, strict=True)
    )
    resized: np.ndarray = ids[rows][:, cols]
    return resized


def _focus(
    label: np.ndarray, outlier: np.ndarray, rng: np.random.Generator, wanted: int | None
) -> tuple[int, int] | None:
    """A pixel of the wanted class, else of the outliers, if there are any, else of a random class of the frame."""
    if wanted is not None and (label == wanted).any():
        where = np.flatnonzero(label == wanted)
    elif outlier.any():
        where = np.flatnonzero(outlier)
    else:
        classes = np.unique(label)
        classes = classes[classes != IGNORE]
        if not len(classes):
            return None
        where = np.flatnonzero(label == rng.choice(classes))
    row, col = divmod(int(rng.choice(where)), label.shape[1])
    return row, col


def _start(full: int, cut: int, focus: int | None, rng: np.random.Generator) -> int:
    if focus is None:
        return int(rng.integers(0, full - cut + 1))
    return int(np.clip(focus - rng.integers(cut // 4, max(cut // 4 + 1, 3 * cut // 4)), 0, full - cut))


def paint_road(image: np.ndarray, label: np.ndarray, rng: np.random.Generator, road: int) -> np.ndarray:
    """Paint one to three stripes on the road of a frame, running towards a vanishing point.

    CamVid's markings are white, thin and British; those of other countries must not look like lost objects.

    Args:
        image: uint8 [H, W, 3], RGB; not changed.
        label: uint8 [H, W], class id or 255.
        rng: source of randomness.
        road: class id of the road.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = label.shape
    vanishing = np.array([width * rng.uniform(0.3, 0.7), height * rng.uniform(0.35, 0.5)])
    cover = np.zeros(label.shape, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        foot = np.array([width * rng.uniform(-0.3, 1.3), height])
        far, near = np.sort(rng.uniform(0.1, 1.1, 2))
        half = width * rng.uniform(0.004, 0.02)
        corners = [
            vanishing + t * (foot + (side, 0.0) - vanishing)
            for t, side in ((far, -half), (far, half), (near, half), (near, -half))
        ]
        cv2.fillPoly(cover, [np.rint(corners).astype(np.int32)], 255)
    color = np.array([rng.uniform(190, 255), rng.uniform(150, 235), rng.uniform(20, 120)])
    if rng.random() < 0.4:
        color = np.full(3, rng.uniform(180, 255))
    alpha = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.2)).astype(np.float32)[..., None] / 255
    alpha *= rng.uniform(0.4, 0.95) * (label == road)[..., None]
    painted: np.ndarray = np.rint(image + alpha * (color - image)).astype(np.uint8)
    return painted


def color_jitter(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, gamma, saturation and hue of uint8 [H, W, 3]; strength 0..1."""
    if strength <= 0:
        return image
    gain, gamma = np.exp(rng.uniform(-strength, strength, 2) * (1.0, 0.6))
    shift = rng.uniform(-strength, strength) * 50
    ramp = np.arange(256, dtype=np.float32) / 255
    table = np.clip((ramp**gamma - 0.5) * gain * 255 + 127.5 + shift, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(cv2.LUT(np.ascontiguousarray(image), table), cv2.COLOR_RGB2HSV)
    saturation = np.clip(np.arange(256) * np.exp(rng.uniform(-strength, strength)), 0, 255).astype(np.uint8)
    hsv[..., 1] = cv2.LUT(hsv[..., 1], saturation)
    turn = int(rng.integers(-round(15 * strength), round(15 * strength) + 1))
    hsv[..., 0] = ((hsv[..., 0].astype(np.int16) + turn) % 180).astype(np.uint8)
    jittered: np.ndarray = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return jittered


def degrade(image: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise and JPEG compression of uint8 [H, W, 3], each with the given probability."""
    image = np.ascontiguousarray(image)
    if rng.random() < probability:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < probability:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 10)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < probability:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image
