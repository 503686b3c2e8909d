"""Image encodings of ``sensor_msgs/Image`` and conversions between them, with the contract of ROS's cv_bridge.

Names follow ``sensor_msgs/image_encodings.hpp``; which conversions exist, their colour codes and the scaling between 8
and 16 bits follow ``cv_bridge`` (https://github.com/ros-perception/vision_opencv), so results are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.errors import DataError, quoted

_GENERIC = re.compile(r"(8U|8S|16U|16S|32S|32F|64F)(?:C([1-9][0-9]{0,2}))?")
_GENERIC_DTYPES = {
    "8U": np.uint8,
    "8S": np.int8,
    "16U": np.uint16,
    "16S": np.int16,
    "32S": np.int32,
    "32F": np.float32,
    "64F": np.float64,
}
_CHANNELS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
# OpenCV names a Bayer pattern by the second row's second and third pixels, ROS by the first two of both rows.
_BAYER = {"bayer_rggb": "BayerBG", "bayer_bggr": "BayerRG", "bayer_gbrg": "BayerGR", "bayer_grbg": "BayerGB"}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
# A plane of luma, then one of chroma with half as many rows of the same length. ROS defines nv21; drivers of hardware
# codecs also send nv12, which has the two chroma bytes the other way round.
_SEMIPLANAR = {"nv12": "NV12", "nv21": "NV21"}


class ImageError(DataError, TypeError):
    """An image message is malformed or cannot be converted (a ``TypeError`` too, as ``CvBridgeError`` is).

    Attributes:
        reason: ``empty``, ``unknown_encoding``, ``size_mismatch``, ``too_large``, ``undecodable`` or
            ``unconvertible``; what diagnostics count by.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Set the reason beside the message."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PixelFormat:
    """How one pixel is laid out.

    Attributes:
        color: ``mono``, ``rgb``, ``bayer_rggb``, ``yuv422`` ...; None for encodings that say nothing about colour.
        dtype: type of one channel, native byte order.
        channels: channels per pixel.
        semiplanar: whether half as many rows of chroma follow the image's rows.
    """

    color: str | None
    dtype: np.dtype
    channels: int
    semiplanar: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel."""
        return self.dtype.itemsize * self.channels


def _named_formats() -> dict[str, PixelFormat]:
    byte, word = np.dtype(np.uint8), np.dtype(np.uint16)
    formats = {name: PixelFormat(name, byte, 2) for name in _YUV}
    formats |= {name: PixelFormat(name, byte, 1, semiplanar=True) for name in _SEMIPLANAR}
    for dtype, bits in ((byte, "8"), (word, "16")):
        formats |= {name + bits: PixelFormat(name, dtype, channels) for name, channels in _CHANNELS.items()}
        formats |= {name + bits: PixelFormat(name, dtype, 1) for name in _BAYER}
    return formats


_NAMED = _named_formats()

CV_BRIDGE_ENCODINGS = frozenset(_NAMED) - {"uyvy", "yuyv", *_SEMIPLANAR}
"""Names that every release of cv_bridge knows; the generic types (8UC3 ...) come on top."""


def is_generic(encoding: str) -> bool:
    """Whether an encoding is a type such as 8UC3 or 32FC1, which says nothing about colour."""
    return _GENERIC.fullmatch(encoding) is not None


def pixel_format(encoding: str) -> PixelFormat:
    """Layout of an encoding.

    Raises:
        ImageError: the encoding is unknown.
    """
    if encoding in _NAMED:
        return _NAMED[encoding]
    match = _GENERIC.fullmatch(encoding)
    if match is None:
        raise ImageError(
            "unknown_encoding",
            f"image encoding {quoted(encoding)} is unknown; expected one of {', '.join(sorted(_NAMED))} or a type such "
            "as 8UC3 or 32FC1: set the camera driver to one of them",
        )
    return PixelFormat(None, np.dtype(_GENERIC_DTYPES[match[1]]), int(match[2] or 1))


def convert(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """Convert pixels from one encoding to another.

    Args:
        array: [H, W] or [H, W, C] in the dtype of ``source``, native byte order; nv12 and nv21 are [3/2 H, W].
        source: encoding of ``array``.
        target: encoding to give; between 8 and 16 bits values are scaled by 257, other depths are cast with rounding.

    Returns:
        [H, W] for one channel, else [H, W, C]; ``array`` itself where nothing is to be done.

    Raises:
        ImageError: an encoding is unknown or there is no conversion between the two.
    """
    have, want = pixel_format(source), pixel_format(target)
    if source == target:
        return array
    if have.color is None or want.color is None:
        if (have.color is None and want.color is not None) or have.channels != want.channels:
            raise ImageError(
                "unconvertible",
                f"cannot convert image encoding '{source}' to '{target}': '{source}' does not say which colours its "
                "channels are, or the channel counts differ; publish rgb8, bgr8 or mono8 instead",
            )
    elif have.color != want.color or have.color in _BAYER:
        array = _convert_color(array, have.color, want.color, f"'{source}' to '{target}'")
    return _convert_depth(array, want.dtype)


def _convert_color(array: np.ndarray, source: str, target: str, what: str) -> np.ndarray:
    if source in _BAYER and target in ("mono", "rgb", "bgr"):
        code = f"{_BAYER[source]}2{_opencv(target)}"
    elif (name := (_YUV | _SEMIPLANAR).get(source)) and target in _CHANNELS:
        code = f"YUV2{_opencv(target)}_{name}"
    elif source in _CHANNELS and target in _CHANNELS:
        code = f"{_opencv(source)}2{_opencv(target)}"
    else:
        raise ImageError("unconvertible", f"there is no conversion of image encoding {what}; publish rgb8 or bgr8")
    try:
        converted: np.ndarray = cv2.cvtColor(array, getattr(cv2, f"COLOR_{code}"))
        return converted
    except cv2.error as error:
        raise ImageError(
            "unconvertible", f"image {list(array.shape)} cannot be converted from encoding {what}: {error.err}"
        ) from error


def _opencv(color: str) -> str:
    return "GRAY" if color == "mono" else color.upper()


def _convert_depth(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        return array.astype(dtype)
    if array.dtype == np.uint8 and dtype == np.uint16:
        return array.astype(np.uint16) * np.uint16(257)
    if array.dtype == np.uint16 and dtype == np.uint8:
        flat: np.ndarray = cv2.convertScaleAbs(array.reshape(array.shape[0], -1), alpha=1 / 257)
        return flat.reshape(array.shape)
    scale = {(1, 2): 257.0, (2, 1): 1 / 257.0}.get((array.dtype.itemsize, dtype.itemsize), 1.0)
    limits = np.iinfo(dtype)
    # Beyond the target's range values saturate, and what is not a number becomes 0. OpenCV, and with it ROS's
    # cv_bridge, saturates below 2^31 alone: larger floats and NaN wrap to the smallest integer (1e10 is 0 in uint8).
    rounded = np.nan_to_num(np.rint(array * np.float64(scale)), nan=0.0, posinf=np.inf, neginf=-np.inf)
    saturated: np.ndarray = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return saturated
