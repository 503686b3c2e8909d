"""The lens models of ``sensor_msgs/CameraInfo``: pixels -> viewing directions of the camera, and back.

The name of the model comes first: for ``plumb_bob`` coefficients that are all zero stand for no distortion, for
``equidistant`` they are an ideal fisheye, whose radius grows with the angle and not with its tangent.
"""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.errors import DataError, quoted

BROWN = ("plumb_bob", "rational_polynomial")
"""OpenCV's pinhole models; as in image_geometry the number of coefficients tells how many terms there are."""

FISHEYE = ("equidistant", "fisheye")
"""OpenCV's fisheye model (Kannala and Brandt, TPAMI 2006), as sensor_msgs and as some drivers name it."""

_BROWN_SIZES = (4, 5, 8, 12, 14)
_FISHEYE_SIZE = 4
_MAX_ERROR_PX = 0.1
_REFINEMENTS = 10
_SOLVER_STEPS = 20
_BEYOND_TURN = 1.01
"""How much farther out than where the radial part of a lens turns back a direction may lie: other parts move that."""
_ANGLES = np.linspace(0.0, np.pi, 2049)


def check_distortion(model: str, coefficients: np.ndarray) -> np.ndarray:
    """The coefficients that OpenCV takes for a model.

    Args:
        model: ``distortion_model`` of a ``camera_info``.
        coefficients: float64 [N], its D.

    Returns:
        float64 [N], empty for a lens without distortion; [4] for a fisheye, zeros included.

    Raises:
        DataError: the model is unknown, or has another number of coefficients.
    """
    if model in FISHEYE:
        # Drivers with a field of fixed size fill it up with zeros; an ideal fisheye has nothing to fill it with.
        given, rest = coefficients[:_FISHEYE_SIZE], coefficients[_FISHEYE_SIZE:]
        if coefficients.any() and (given.size < _FISHEYE_SIZE or rest.any()):
            raise _unfit(model, coefficients)
        return np.pad(given, (0, _FISHEYE_SIZE - given.size))
    if not coefficients.any() and model in ("", *BROWN):
        return np.zeros(0)
    if model not in BROWN or coefficients.size not in _BROWN_SIZES:
        raise _unfit(model, coefficients)
    return coefficients


def directions(pixels: np.ndarray, matrix: np.ndarray, model: str, distortion: np.ndarray) -> np.ndarray:
    """Where the camera looks.

    Args:
        pixels: [N, 2], x and y.
        matrix: float64 [3, 3], K.
        model: distortion model.
        distortion: float64 [N], of `check_distortion`.

    Returns:
        float64 [N, 3], x right, y down, z forward; z is 1 where the camera looks ahead. NaN where the model has no
        direction for the pixel (far outside the calibrated image).
    """
    points = np.ascontiguousarray(pixels, np.float64).reshape(-1, 2)
    focal, center = matrix.diagonal()[:2], matrix[:2, 2]
    if model in FISHEYE:
        return _fisheye_directions((points - center) / focal, distortion, _MAX_ERROR_PX / focal.max())
    plane = (points - center) / focal if not distortion.size else _undistorted(points, matrix, distortion, focal)
    found = np.ones((len(plane), 3))
    found[:, :2] = plane
    return found


def _undistorted(points: np.ndarray, matrix: np.ndarray, distortion: np.ndarray, focal: np.ndarray) -> np.ndarray:
    plane = cv2.undistortPoints(points[:, None], matrix, distortion)
    # OpenCV stops after five iterations by default, too early for strong lenses, and does not say so.
    with np.errstate(invalid="ignore", over="ignore"):
        for _ in range(_REFINEMENTS):
            plane = plane + (points[:, None] - _distorted(plane, matrix, distortion)) / focal
        error = np.linalg.norm(_distorted(plane, matrix, distortion)[:, 0] - points, axis=1)
    found: np.ndarray = plane[:, 0]
    missed = ~(error <= _MAX_ERROR_PX)
    if missed.any():
        found[missed] = _solved(points[missed], matrix, distortion)
    return found


def _solved(points: np.ndarray, matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Newton's method, from where the radial part alone puts the points; NaN beyond the lens's first turning back.

    Steps that take the error in the image for the error on the plane do not end where the image moves by less than
    half as much as the plane does, or by more than twice: towards the edges of wide lenses.
    """
    slopes = np.tan(_ANGLES[: np.searchsorted(_ANGLES, np.deg2rad(89.5))])
    radial = distortion.copy()
    radial[2:4], radial[8:] = 0.0, 0.0
    curve = _distorted(np.column_stack([slopes, np.zeros_like(slopes)])[:, None], np.eye(3), radial)[:, 0, 0]
    usable = _before_turn(curve)
    ends = slopes[usable][-1]
    wanted = (points - matrix[:2, 2]) / matrix.diagonal()[:2]
    radius = np.hypot(*wanted.T)
    plane = wanted * (np.interp(radius, curve[usable], slopes[usable]) / np.maximum(radius, 1e-12))[:, None]
    none = np.zeros(3)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for _ in range(_SOLVER_STEPS):
            rays = cv2.convertPointsToHomogeneous(plane[:, None])
            pixels, by_all = cv2.projectPoints(rays, none, none, matrix, distortion)
            # At a depth of 1 the camera's shift moves a pixel as the same shift on the plane does.
            (a, b), (c, d) = by_all[:, 3:5].reshape(-1, 2, 2).transpose(1, 2, 0)
            x, y = (points - pixels[:, 0]).T
            step = np.column_stack([d * x - b * y, a * y - c * x]) / (a * d - b * c)[:, None]
            # Where the lens turns back, a full step ends anywhere.
            plane = plane + step * np.minimum(1.0, 0.5 * (1 + radius) / np.hypot(*step.T))[:, None]
        error = np.linalg.norm(_distorted(plane[:, None], matrix, distortion)[:, 0] - points, axis=1)
        fits = (error <= _MAX_ERROR_PX) & (np.hypot(*plane.T) <= _BEYOND_TURN * ends)
    return np.where(fits[:, None], plane, np.nan)


def _before_turn(curve: np.ndarray) -> slice:
    """The part of a curve, float64 [N], before its first maximum: a calibration says nothing of what lies beyond."""
    turn = np.flatnonzero(~(np.diff(curve) > 0))
    return slice(0, (turn[0] + 1) if len(turn) else len(curve))


def _distorted(plane: np.ndarray, matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    none = np.zeros(3)
    rays = cv2.convertPointsToHomogeneous(plane)
    pixels: np.ndarray = cv2.projectPoints(rays, none, none, matrix, distortion)[0].reshape(-1, 1, 2)
    return pixels


def _fisheye_directions(plane: np.ndarray, distortion: np.ndarray, tolerance: float) -> np.ndarray:
    """From K's plane; OpenCV's own inverse ends at a radius of pi / 2 and cannot look sideways or back."""
    radius = np.hypot(*plane.T)
    curve = _fisheye_radius(_ANGLES, distortion)
    usable = _before_turn(curve)
    angle = np.interp(radius, curve[usable], _ANGLES[usable])
    slopes = np.polynomial.Polynomial([1, 0, *np.kron(distortion * (3, 5, 7, 9), (1, 0))])
    farthest = _ANGLES[usable][-1] + _ANGLES[1]
    for _ in range(3):
        angle = angle - (_fisheye_radius(angle, distortion) - radius) / np.maximum(slopes(angle), 1e-3)
        # Beyond, the polynomial may rise once more.
        angle = np.minimum(angle, farthest)
    with np.errstate(invalid="ignore", divide="ignore"):
        sideways = plane * np.where(radius > 0, np.sin(angle) / radius, 1.0)[:, None]
        found = np.column_stack([sideways, np.cos(angle)])
        found = np.where(found[:, 2:] > 0, found / found[:, 2:], found)
    fits = (np.abs(_fisheye_radius(angle, distortion) - radius) <= tolerance) & (angle <= np.pi)
    return np.where(fits[:, None], found, np.nan)


def _fisheye_radius(angle: np.ndarray, k: np.ndarray) -> np.ndarray:
    square = angle**2
    radius: np.ndarray = angle * (1 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))))
    return radius


def _unfit(model: str, coefficients: np.ndarray) -> DataError:
    return DataError(
        f"camera_info: distortion model {quoted(model)} with {coefficients.size} coefficients is not supported; "
        f"expected {' or '.join(BROWN)} with {', '.join(map(str, _BROWN_SIZES))} coefficients, or equidistant with "
        f"{_FISHEYE_SIZE}; correct distortion_model and d in the calibration"
    )
