"""AnomalyMix: pasting of unknown cut-outs, and of known objects so that pasting itself is no evidence (Sec. 4.3)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.data_config import BlendConfig
from m2a_core.training.datasets import Cutout, LabelledImage
from m2a_core.training.targets import IGNORE
from m2a_core.training.variation import draw_weights, rotated, vary

ROAD_LIKE = (3, 4)
HORIZON = 0.42
"""Row of the horizon in CamVid, as a share of the height; measured on the vanishing road edges."""
CAMERA_HEIGHT = 1.4
"""Assumed, in metres: pixels per metre on the ground at a row = (row - horizon) / CAMERA_HEIGHT."""


TRAIN_BLEND = BlendConfig()
VALIDATION_BLEND = BlendConfig(
    match=(0.3, 0.5), blur=(0.4, 0.9), edge=(0.4, 0.8), noise=(1.0, 3.0), shadow=0.0, texture_swap=0.0, on_road=1.0
)
"""As Fishyscapes Static: brightness matched, blurred, on or near the road."""


def erode_alpha(rgba: np.ndarray) -> np.ndarray:
    """Take one pixel off the alpha, where old cut-outs have light rims."""
    padded = cv2.copyMakeBorder(rgba[..., 3], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    alpha = cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return np.dstack([rgba[..., :3], alpha])


LARGE = (0.3, 0.9)
"""Longer side of a large object as a share of the frame's height."""
SEAMLESS_MOST = 200
"""Longest side in pixels of an object that is blended with Poisson's equation, whose cost grows with the area."""


def cut_known_objects(
    frames: Iterable[LabelledImage], labels: LabelSet = CAMVID11, min_area: int = 150, max_area: int = 20000
) -> list[Cutout]:
    """Cut the things of other frames out, as negatives for pasting: instances, or components where there are none.

    Args:
        frames: training frames.
        labels: their classes.
        min_area: smallest component, pixels.
        max_area: largest component, pixels.

    Returns:
        Cut-outs whose ``kind`` is the class id and whose name holds the row of their foot, ``row@NAME``.
    """
    objects = []
    for frame in frames:
        for class_id in sorted(labels.things):
            for mask in _things(frame, class_id):
                x, y, w, h = cv2.boundingRect(mask)
                area = cv2.countNonZero(mask)
                if not min_area <= area <= max_area or x == 0 or y == 0 or x + w == mask.shape[1]:
                    continue
                rgba = np.dstack([frame.image[y : y + h, x : x + w], mask[y : y + h, x : x + w] * 255])
                objects.append(Cutout(f"{y + h}@{frame.name}", str(class_id), True, rgba))
    return objects


def _things(frame: LabelledImage, class_id: int) -> Iterator[np.ndarray]:
    """Masks uint8 [H, W] of 0 and 1."""
    mask = frame.label == class_id
    if frame.instances is None:
        count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        found = np.arange(1, count)
    else:
        numbers = np.where(mask, frame.instances, 0)
        found = np.unique(numbers[mask])
    for number in found[found > 0]:
        yield (numbers == number).astype(np.uint8)


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


class AnomalyMix:
    """Pastes unknown and known objects into road frames."""

    def __init__(
        self,
        unknown: Sequence[Cutout],
        known: Sequence[Cutout],
        blend: BlendConfig = TRAIN_BLEND,
        ground: Sequence[int] = ROAD_LIKE,
        favour: Mapping[str, float] | None = None,
        shares: Mapping[Path, float] | None = None,
        need_known: bool = True,
    ) -> None:
        """Take the objects.

        Args:
            unknown: outlier cut-outs.
            known: cut-outs of known things, may be empty.
            blend: how objects are fitted in.
            ground: class ids that objects can stand on.
            favour: kind of an unknown object -> how many times likelier it is drawn.
            shares: folder -> share of the unknown objects that are drawn from it, each kind as often as the next.
            need_known: whether it is an error to paste known objects where there are none, or nothing is pasted then.
        """
        self.need_known = need_known
        self.ground = tuple(ground)
        self.unknown = [(erode_alpha(c.rgba), c) for c in unknown]
        self.known = [(c.rgba, c) for c in known]
        self.blend = blend
        self.weights = draw_weights(unknown, favour or {}, shares or {})

    def fitted_by(self, blend: BlendConfig) -> AnomalyMix:
        """The same objects, fitted in otherwise."""
        other = copy.copy(self)
        other.blend = blend
        return other

    def add_unknown(
        self, image: np.ndarray, label: np.ndarray, outlier: np.ndarray, count: int, rng: np.random.Generator
    ) -> None:
        """Paste ``count`` unknown objects, in place; arguments as for `paste`.

        Raises:
            DataError: there are none.
        """
        if not self.unknown:
            raise DataError(
                "AnomalyMix: no outlier cut-outs were given; name a folder with some or set outlier_prob: 0"
            )
        height = image.shape[0]
        for _ in range(count):
            rgba = self.unknown[rng.choice(len(self.unknown), p=self.weights)][0]
            if rng.random() < self.blend.texture_swap:
                other = self.unknown[rng.integers(len(self.unknown))][0]
                rgba = np.dstack([cv2.resize(other[..., :3], rgba.shape[1::-1]), rgba[..., 3]])
            rgba = vary(rgba, self.blend, rng)
            if rng.random() < 0.5:
                rgba = rgba[:, ::-1]
            if rng.random() < 0.3:
                rgba = rotated(rgba, float(rng.uniform(-40, 40)))
            x, y, grounded = place(label, self.blend.on_road, self.ground, rng, self.blend.far)
            if self.blend.large > 0 and rng.random() < self.blend.large:
                size = rng.uniform(*LARGE) * height
                y = max(y, int(min(height, rng.uniform(0.5, 1.1) * height)))
            elif grounded:
                metres = np.exp(rng.uniform(*np.log(self.blend.metres)))
                size = np.clip((y - HORIZON * height) / CAMERA_HEIGHT * metres, 6, 0.55 * height)
            else:
                size = np.exp(rng.uniform(np.log(10), np.log(0.4 * height)))
            paste(image, label, outlier, np.ascontiguousarray(rgba), (x, y), float(size), None, self.blend, rng)

    def add_known(
        self,
        image: np.ndarray,
        label: np.ndarray,
        outlier: np.ndarray,
        count: int,
        rng: np.random.Generator,
        instances: np.ndarray | None = None,
    ) -> None:
        """Paste ``count`` known objects at a size that fits their row, in place; arguments as for `paste`.

        Raises:
            DataError: there are none, and there should be.
        """
        if not self.known:
            if not self.need_known:
                return
            raise DataError(
                "AnomalyMix: the training frames hold no whole car, pedestrian or bicyclist to cut out; "
                "set known_paste_prob: 0"
            )
        horizon = HORIZON * image.shape[0]
        for _ in range(count):
            rgba, cutout = self.known[rng.integers(len(self.known))]
            x, y, grounded = place(label, 0.9, self.ground, rng)
            size = float(max(rgba.shape[:2]))
            old = int(cutout.name.split("@")[0]) - horizon
            factor = (y - horizon) / old if grounded and old > 5 else 1.0
            size = float(np.clip(size * factor * rng.uniform(0.8, 1.25), 10, 0.7 * image.shape[0]))
            if rng.random() < 0.5:
                rgba = rgba[:, ::-1]
            paste(
                image,
                label,
                outlier,
                np.ascontiguousarray(rgba),
                (x, y),
                size,
                int(cutout.kind),
                self.blend,
                rng,
                instances,
            )
