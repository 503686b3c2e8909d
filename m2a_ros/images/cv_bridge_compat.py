"""The interface of ROS's package ``cv_bridge``: its compiled conversions where installed, ours elsewhere.

For programs that use m2a beside code written for cv_bridge (docs/cv_bridge.md); the node does not import it. Both read
and convert images with `conversions` and `encodings`.

Messages are always read and written here. That part of cv_bridge is Python and has four defects that are errors, or
read right, here: padding that is no multiple of a pixel, a step below a row, data that is too long, big-endian images
under NumPy 2.

Floats become integers rounded and saturated, NaN becomes 0, where cv_bridge is not installed; OpenCV, which cv_bridge
converts with, saturates below 2^31 alone and gives the smallest integer for NaN and what is larger.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.deprecation import old_names
from m2a_core.encoded_image import inspect
from m2a_ros.images.compressed_format import parse_format, stream_encoding
from m2a_ros.images.conversions import fill_image, image_to_array
from m2a_ros.images.decoding import decode_stream
from m2a_ros.images.display import cvt_color_for_display
from m2a_ros.images.encodings import CV_BRIDGE_ENCODINGS, ImageError, convert, is_generic, pixel_format

CvBridgeError = ImageError
cvtColorForDisplay = cvt_color_for_display

_TYPE_NAMES = {
    "uint8": "8U",
    "int8": "8S",
    "uint16": "16U",
    "int16": "16S",
    "int32": "32S",
    "float32": "32F",
    "float64": "64F",
}
_CHANNEL_STEP = cv2.CV_8UC2 - cv2.CV_8UC1
"""By which OpenCV's type numbers grow with a channel: 8 up to OpenCV 4, 32 since OpenCV 5."""

__getattr__ = old_names(globals(), {"ImageBridge": "CvBridge"})


class CvBridge:
    """Image messages <-> OpenCV arrays, call for call as ``cv_bridge.CvBridge``; errors are ``CvBridgeError``."""

    def __init__(self) -> None:
        """Look for ROS's own conversions."""
        self._core = _cv_bridge_core()

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str = "passthrough") -> np.ndarray:
        """Convert a ``sensor_msgs/Image``.

        Args:
            img_msg: the message.
            desired_encoding: an encoding, or ``passthrough`` for the message's own.

        Returns:
            [H, W] for one channel, else [H, W, C]; with ``passthrough`` it may share memory with the message.

        Raises:
            ImageError: malformed message, unknown encoding or impossible conversion.
        """
        array = image_to_array(img_msg)
        if desired_encoding == "passthrough":
            return array
        converted = self._convert(array, img_msg.encoding, desired_encoding)
        return array.copy() if converted is array else converted

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = "passthrough", header: Any = None) -> Image:
        """Convert an array to a ``sensor_msgs/Image``.

        Args:
            cvim: [H, W] or [H, W, C]; the bytes of a big-endian array are kept and the message says so.
            encoding: an encoding with the array's dtype and channels, or ``passthrough`` for its type, such as 8UC3.
            header: the header to set, if any.

        Raises:
            ImageError: the array does not fit the encoding, or no encoding has its dtype.
        """
        array = _checked(cvim)
        if encoding == "passthrough":
            encoding = self.dtype_with_channels_to_cvtype2(array.dtype, array.shape[2] if array.ndim == 3 else 1)
        msg = Image()
        native = array.dtype.newbyteorder("=")
        fill_image(msg, array.view(native), encoding)
        if array.dtype != native:
            msg.is_bigendian = int(sys.byteorder == "little")
        if header is not None:
            msg.header = header
        return msg

    def compressed_imgmsg_to_cv2(self, cmprs_img_msg: Any, desired_encoding: str = "passthrough") -> np.ndarray:
        """Decode a ``sensor_msgs/CompressedImage``.

        Args:
            cmprs_img_msg: the message.
            desired_encoding: an encoding, or ``passthrough`` for what OpenCV decodes (colour comes as bgr8).

        Raises:
            ImageError: no data, too large, cut off, undecodable, or no conversion to the encoding.
        """
        array = self._decode(cmprs_img_msg)
        if desired_encoding == "passthrough":
            return array
        encoding = stream_encoding(parse_format(cmprs_img_msg.format), array)
        return self._convert(array, encoding, desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray, dst_format: str = "jpg") -> CompressedImage:
        """Encode an array as ``sensor_msgs/CompressedImage``.

        Args:
            cvim: [H, W] or [H, W, C] as OpenCV takes it (BGR).
            dst_format: file extension, such as ``jpg`` or ``png``.

        Raises:
            ImageError: OpenCV cannot write the array in that format.
        """
        array = _checked(cvim)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        try:
            done, data = cv2.imencode(f".{dst_format}", array)
        except cv2.error as error:
            raise ImageError(
                "unconvertible", f"{array.dtype.name} {list(array.shape)} as '{dst_format}': {error.err}"
            ) from error
        if not done:
            raise ImageError("unconvertible", f"cannot write {array.dtype.name} {list(array.shape)} as '{dst_format}'")
        msg = CompressedImage(format=dst_format)
        msg.data.frombytes(data.data.cast("B"))
        return msg

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """NumPy dtype name and channel count of an encoding.

        Raises:
            ImageError: the encoding is unknown.
        """
        layout = pixel_format(encoding)
        return layout.dtype.name, layout.channels

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """Name of the generic encoding of a dtype and a number of channels, such as 8UC3.

        Raises:
            ImageError: no encoding has this dtype.
        """
        if dtype.name not in _TYPE_NAMES:
            raise ImageError("unconvertible", f"no encoding has dtype {dtype.name}; use one of {sorted(_TYPE_NAMES)}")
        return f"{_TYPE_NAMES[dtype.name]}C{n_channels}"

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        """NumPy dtype name and channel count of OpenCV's type number, such as ``cv2.CV_8UC3``.

        Raises:
            ImageError: no encoding has its depth.
        """
        channels, depth = divmod(cvtype, _CHANNEL_STEP)
        for dtype, name in _TYPE_NAMES.items():
            if getattr(cv2, f"CV_{name}") == depth:
                return dtype, channels + 1
        raise ImageError("unconvertible", f"OpenCV's type {cvtype} has depth {depth}, which no encoding has")

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """OpenCV's type number of an encoding, such as ``cv2.CV_8UC3``.

        Raises:
            ImageError: the encoding is unknown.
        """
        dtype, channels = self.encoding_to_dtype_with_channels(encoding)
        made: int = getattr(cv2, f"CV_{_TYPE_NAMES[dtype]}C")(channels)
        return made

    def _decode(self, msg: Any) -> np.ndarray:
        """Whatever OpenCV reads, as cv_bridge does; the node reads JPEG and PNG alone."""
        data = bytes(msg.data)
        if not data or inspect(data) is not None:
            return decode_stream(msg)[0]
        array: np.ndarray | None = None
        # OpenCV raises for some of what it cannot decode and returns None for the rest.
        with contextlib.suppress(cv2.error):
            array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise ImageError("undecodable", f"compressed image of {len(data)} bytes is cut off or no image")
        return array

    def _convert(self, array: np.ndarray, source: str, target: str) -> np.ndarray:
        theirs = all(name in CV_BRIDGE_ENCODINGS or is_generic(name) for name in (source, target))
        if self._core is None or not theirs:
            return convert(array, source, target)
        try:
            return self._core(array, source, target)
        except RuntimeError as error:
            raise ImageError("unconvertible", f"cv_bridge: {error}; publish rgb8, bgr8 or mono8 instead") from error


def getCvType(encoding: str) -> int:
    """OpenCV's type number of an encoding; see `CvBridge.encoding_to_cvtype2`."""
    return CvBridge().encoding_to_cvtype2(encoding)


def _cv_bridge_core() -> Callable[[np.ndarray, str, str], np.ndarray] | None:
    """``cvtColor2`` of a ROS installation; PyPI's package of the same name has none, and its conversions are wrong."""
    try:
        from cv_bridge.boost.cv_bridge_boost import cvtColor2
    except ImportError:
        return None
    core: Callable[[np.ndarray, str, str], np.ndarray] = cvtColor2
    return core


def _checked(array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or array.dtype.name not in _TYPE_NAMES:
        what = f"{array.dtype.name} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ImageError("unconvertible", f"expected an array [H, W] or [H, W, C] of {sorted(_TYPE_NAMES)}, got {what}")
    return np.ascontiguousarray(array)
