"""Image messages that are filled in place, frame after frame, as they go to the middleware.

A fresh 8 MB message costs as much in page faults as in copying, and serialising it costs a copy more. The middleware
copies a message's data while it is published, so the same memory can be filled again once that has returned.
"""

from __future__ import annotations

import struct
import sys

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from m2a_ros.images.conversions import JPEG_FORMAT
from m2a_ros.images.encodings import pixel_format

_LENGTH = 4
"""Bytes in front of the pixels that say how many they take; the message's last field."""
_COUNT = struct.Struct("=I")
_STAMP, _STAMP_AT = struct.Struct("=iI"), 4
"""Seconds and nanoseconds, behind the encapsulation: the message's first field."""
_ALIGNMENT = 64
"""Bytes: of the pixels in memory, for the widest vector instructions."""


class ImageBuffer:
    """One output's serialised ``sensor_msgs/Image``; belongs to one thread.

    Attributes:
        serialized: uint8 [N], the whole message.
    """

    def __init__(self, encoding: str) -> None:
        """Start without pixels.

        Args:
            encoding: of all the images to come.

        Raises:
            ImageError: the encoding is unknown.
        """
        self._layout = pixel_format(encoding)
        self._without_data = Image(encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
        self.serialized = np.empty(0, np.uint8)
        self._pixels = np.empty((0, 0))

    def begin(self, header: Header, size: tuple[int, int]) -> np.ndarray:
        """Start the next image.

        Args:
            header: of the message.
            size: height, width.

        Returns:
            [H, W] or [H, W, C] in the encoding's dtype: the message's own pixels, to be written before it is published.
        """
        if self._pixels.shape[:2] != size or self._without_data.header.frame_id != header.frame_id:
            self._allocate(header.frame_id, size)
        _STAMP.pack_into(self.serialized, _STAMP_AT, header.stamp.sec, header.stamp.nanosec)
        return self._pixels

    def _allocate(self, frame_id: str, size: tuple[int, int]) -> None:
        message, (height, width) = self._without_data, size
        message.header.frame_id, message.height, message.width = frame_id, height, width
        message.step = width * self._layout.pixel_bytes
        length = height * message.step
        head = serialize_message(message)[:-_LENGTH] + length.to_bytes(_LENGTH, sys.byteorder)
        memory = np.empty(_ALIGNMENT + len(head) + length, np.uint8)
        shift = -(memory.ctypes.data + len(head)) % _ALIGNMENT
        self.serialized = memory[shift : shift + len(head) + length]
        self.serialized[: len(head)] = np.frombuffer(head, np.uint8)
        channels = () if self._layout.channels == 1 else (self._layout.channels,)
        self._pixels = self.serialized[len(head) :].view(self._layout.dtype).reshape(*size, *channels)


class JpegBuffer:
    """One output's serialised ``sensor_msgs/CompressedImage``; belongs to one thread."""

    def __init__(self) -> None:
        """Start without a picture."""
        self._without_data = CompressedImage(format=JPEG_FORMAT)
        self._head = np.empty(0, np.uint8)

    def filled(self, header: Header, jpeg: np.ndarray) -> np.ndarray:
        """The next message.

        Args:
            header: of the message.
            jpeg: uint8 [N].

        Returns:
            uint8 [M], the whole message.
        """
        if not self._head.size or self._without_data.header.frame_id != header.frame_id:
            self._without_data.header.frame_id = header.frame_id
            self._head = np.frombuffer(serialize_message(self._without_data), np.uint8).copy()
        _STAMP.pack_into(self._head, _STAMP_AT, header.stamp.sec, header.stamp.nanosec)
        _COUNT.pack_into(self._head, self._head.size - _LENGTH, jpeg.size)
        return np.concatenate((self._head, jpeg))
