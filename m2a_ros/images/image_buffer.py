"""Image messages that are filled in place, frame after frame.

A fresh 8 MB message costs as much in page faults as in copying. rclpy copies a message's data while it publishes, so
the same message can be filled again once ``publish`` has returned.
"""

from __future__ import annotations

import sys
from array import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from m2a_ros.images.encodings import pixel_format


class ImageBuffer:
    """One output's message; belongs to one thread.

    Attributes:
        message: the ``sensor_msgs/Image``.
    """

    def __init__(self, encoding: str) -> None:
        """Start without pixels.

        Args:
            encoding: of all the images to come.

        Raises:
            ImageError: the encoding is unknown.
        """
        self._layout = pixel_format(encoding)
        self.message = Image(encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
        self._pixels = np.empty((0, 0))

    def begin(self, header: Header, size: tuple[int, int]) -> np.ndarray:
        """Start the next image.

        Args:
            header: of the message.
            size: height, width.

        Returns:
            [H, W] or [H, W, C] in the encoding's dtype: the message's own pixels, to be written before it is published.
        """
        self.message.header = header
        if self._pixels.shape[:2] != size:
            height, width = size
            step = width * self._layout.pixel_bytes
            self.message.height, self.message.width, self.message.step = height, width, step
            self.message.data = array("B", bytes(1)) * (height * step)
            channels = () if self._layout.channels == 1 else (self._layout.channels,)
            # Some releases keep the array they are given, others a copy of it.
            self._pixels = np.frombuffer(self.message.data, self._layout.dtype).reshape(*size, *channels)
        return self._pixels
