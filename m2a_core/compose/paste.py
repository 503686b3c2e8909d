"""Cut-outs as upright boards on the road: matched to the picture's look, scaled by perspective, with shadows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.errors import DataError
from m2a_core.images import read_rgba

MIN_DISTANCE = 5.5
"""Metres: nearer objects are hidden by the bonnet, or behind the camera."""


@dataclass(frozen=True)
class Look:
    """How cut-outs are fitted to the video's picture.

    Attributes:
        saturation: factor on the colours' distance from grey, 0..1.
        brightness: mean grey value, 0..255, that cut-outs are scaled to.
        contrast: factor on the grey values' distance from that mean.
        blur: pixels, sigma of the camera's softness.
        grain: grey values, sigma of the noise.
        shadow: share of light taken away in the shadow, 0..1.
        shadow_per_meter: how far the shadow of one metre of height falls: metres to the right and ahead.
    """

    saturation: float
    brightness: float
    contrast: float
    blur: float
    grain: float
    shadow: float
    shadow_per_meter: tuple[float, float]


@dataclass(frozen=True)
class Cutout:
    """One object and its place on the road.

    Attributes:
        name: name of the object.
        rgba: float32 [h, w, 4], colours 0..255 multiplied by alpha 0..1, tight around the object.
        position: X right and Z ahead of the first frame's camera, in metres, where the object's foot stands.
        size: width and height in metres.
        brightness: factor on the look's brightness.
    """

    name: str
    rgba: np.ndarray
    position: tuple[float, float]
    size: tuple[float, float]

    def place(self, camera: GroundCamera, pose: Pose) -> tuple[np.ndarray, float, np.ndarray] | None:
        """Where the object is seen from a pose.

        Returns:
            Foot x and y in pixels, pixels per metre at the foot, and the foot's X right and Z ahead in metres;
            None when it is nearer than ``MIN_DISTANCE``.
        """
        road = pose.to_camera(np.array([self.position], dtype=np.float64))[0]
        if road[1] < MIN_DISTANCE:
            return None
        foot = camera.project(np.array([[road[0], 0.0, road[1]]]), pose.pitch)[0]
        return foot[:2], camera.focal / foot[2], road


def load_cutout(
    path: Path, name: str, position: tuple[float, float], height: float, look: Look, brightness: float = 1.0
) -> Cutout:
    """Read an RGBA picture, trim its rim, and match its colours to the video.

    Args:
        path: PNG with alpha.
        name: name of the object.
        position: see ``Cutout``.
        height: metres from foot to top.
        look: the video's look.
        brightness: factor on the look's brightness, for objects darker or lighter than most.

    Raises:
        DataError: the file is no RGBA picture, or empty.
    """
    rgba = read_rgba(path)
    if not (rgba[..., 3] > 127).any():
        raise DataError(f"{path}: expected a picture whose alpha channel is not empty")
    return make_cutout(rgba, name, position, height, look, brightness)


def make_cutout(
    rgba: np.ndarray, name: str, position: tuple[float, float], height: float, look: Look, brightness: float = 1.0
) -> Cutout:
    """Trim the rim of a picture, uint8 [h, w, 4], RGBA, and match its colours; the rest as ``load_cutout``."""
    ys, xs = np.nonzero(rgba[..., 3] > 127)
    raw = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.float32)
    alpha = raw[..., 3:] / 255
    rgb = raw[..., :3]
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    rgb = grey[..., None] + look.saturation * (rgb - grey[..., None])
    mean = float((grey * alpha[..., 0]).sum() / alpha.sum())
    target = look.brightness * brightness
    rgb = np.clip(target + look.contrast * (rgb * (target / mean) - target), 0, 255)
    # Sun from the left behind the camera, and less light from below: what the cars in the clip show.
    h, w = grey.shape
    light = np.linspace(1.08, 0.86, w, dtype=np.float32)[None, :] * np.linspace(1.05, 0.8, h, dtype=np.float32)[:, None]
    premultiplied = np.concatenate([np.clip(rgb * light[..., None], 0, 255) * alpha, alpha], axis=2)
    return Cutout(name, premultiplied.astype(np.float32), position, (height * w / h, height))


def draw_shadow(image: np.ndarray, cutout: Cutout, camera: GroundCamera, pose: Pose, look: Look) -> None:
    """Darken the road, float32 [H, W, 3], in place: the cast shadow of the silhouette and the contact at the foot."""
    placed = cutout.place(camera, pose)
    if placed is None:
        return
    _, pixels_per_meter, (x, z) = placed
    half, height = cutout.size[0] / 2, cutout.size[1]
    dx, dz = height * look.shadow_per_meter[0], height * look.shadow_per_meter[1]
    road = np.array(
        [[x - half + dx, 0, z + dz], [x + half + dx, 0, z + dz], [x + half, 0, z], [x - half, 0, z]], dtype=np.float64
    )
    h, w = cutout.rgba.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    quad = camera.project(road, pose.pitch)[:, :2].astype(np.float32)
    cast = cv2.warpPerspective(
        cutout.rgba[..., 3], cv2.getPerspectiveTransform(corners, quad), (camera.width, camera.height)
    )
    circle = np.linspace(0, 2 * np.pi, 32)
    foot = np.stack(
        [x + 0.9 * half * np.cos(circle), np.zeros(32), z + 0.35 * half * (1 + np.sin(circle)) - 0.12], axis=1
    )
    area = np.zeros((camera.height, camera.width), np.float32)
    outline = camera.project(foot, pose.pitch)[:, :2]
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], (1.0,), cv2.LINE_AA, 4)
    soft_cast = cv2.GaussianBlur(cast, (0, 0), max(0.6, 0.02 * pixels_per_meter))
    soft_area = cv2.GaussianBlur(area, (0, 0), max(0.6, 0.03 * pixels_per_meter))
    image *= 1 - look.shadow * np.maximum(soft_cast, soft_area)[..., None]


def draw_cutout(image: np.ndarray, cutout: Cutout, camera: GroundCamera, pose: Pose, look: Look) -> np.ndarray | None:
    """Draw the object into the image, float32 [H, W, 3] RGB, in place.

    Returns:
        Alpha float32 [H, W], 0..1, or None when the object is not in front of the camera.
    """
    placed = cutout.place(camera, pose)
    if placed is None:
        return None
    foot, pixels_per_meter, _ = placed
    h, w = cutout.rgba.shape[:2]
    scale = pixels_per_meter * cutout.size[1] / h
    # One blur in the picture's own resolution stands for the camera's softness and against aliasing.
    sigma = float(np.hypot(look.blur, 0.45)) / scale
    border = int(np.ceil(3 * sigma)) + 1
    soft = cv2.copyMakeBorder(cutout.rgba, border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    soft = cv2.GaussianBlur(soft, (0, 0), sigma)
    # Pixel centres: the foot is the middle of the lower edge of the last row.
    matrix = np.array(
        [
            [scale, 0, foot[0] - scale * (border + (w - 1) / 2)],
            [0, scale, foot[1] - scale * (border + h - 0.5)],
        ]
    )
    warped = cv2.warpAffine(soft, matrix, (camera.width, camera.height), flags=cv2.INTER_LINEAR)
    alpha: np.ndarray = warped[..., 3]
    image *= 1 - alpha[..., None]
    image += warped[..., :3]
    return alpha
