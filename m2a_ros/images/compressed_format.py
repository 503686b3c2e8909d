"""What ``sensor_msgs/CompressedImage.format`` says: the one parser, for the node and for bags.

image_transport writes ``SOURCE; CODEC compressed STREAM``: encoding of the image before compression, codec, and the
encoding that it was converted to for the codec, which is left out where it was not converted; drivers often write the
codec alone. https://github.com/ros-perception/image_transport_plugins, compressed_image_transport.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from m2a_ros.images.encodings import ImageError, PixelFormat, pixel_format

COMPRESSED_DEPTH = "compresseddepth"
READABLE_CODECS = ("jpeg", "jpg", "mjpeg", "png")
OTHER_CODECS = (
    COMPRESSED_DEPTH, "rvl", "zstd", "theora", "ffmpeg", "h264", "h265", "hevc", "av1", "vp8", "vp9", "webp", "avif",
    "heif", "jxl", "jp2", "jpeg2000", "jpegls", "tiff", "bmp", "gif", "ppm",
)  # fmt: skip
_COLOURS = ("rgb", "bgr", "rgba", "bgra")
_BY_CHANNELS = {1: "mono", 3: "bgr", 4: "bgra"}


@dataclass(frozen=True)
class CompressedFormat:
    """A parsed ``format``.

    Attributes:
        source: encoding of the image before compression; None where it is not named or not known.
        stream: encoding of the decoded stream, as OpenCV decodes it; None likewise.
        codec: the codec in lower case, empty where none is named.
    """

    source: str | None
    stream: str | None
    codec: str

    @property
    def is_readable(self) -> bool:
        """Whether no codec is named that is not read."""
        return self.codec not in OTHER_CODECS


def parse_format(text: str) -> CompressedFormat:
    """Parse a ``format``; what is not understood is left out."""
    head, _, rest = text.partition(";")
    words = re.split(r"[\s;,]+", rest if ";" in text else text)
    lower = [word.lower() for word in words]
    codec = next((word for word in (COMPRESSED_DEPTH, *lower) if word in lower and word in _CODECS), "")
    after = lower.index("compressed") + 1 if "compressed" in lower else len(words)
    stream = _known(words[after]) if after < len(words) else None
    source = _known(head.strip()) if ";" in text else next((name for word in words if (name := _known(word))), None)
    return CompressedFormat(source, stream, codec)


def stream_encoding(form: CompressedFormat, pixels: np.ndarray) -> str:
    """The encoding of a decoded stream.

    A Bayer pattern stays one where the stream still has its single channel. Blue first is what codecs and OpenCV agree
    on; a stream in red first, which older releases of image_transport wrote as PNG, is named as such.

    Args:
        form: the parsed format.
        pixels: the stream as OpenCV decodes it unchanged, [H, W] or [H, W, C], uint8 or uint16.

    Raises:
        ImageError: the source is of a type that says nothing about colour, such as 16UC1: depth, most likely.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = 8 * pixels.itemsize
    source, stream = _layout(form.source), _layout(form.stream)
    if source is not None and source.color is None and not (stream and stream.color in _COLOURS):
        raise ImageError(
            "unconvertible",
            f"the compressed image is of encoding '{form.source}', which does not say which colours its channels are "
            "(depth images look like this); publish rgb8, bgr8 or mono8 instead",
        )
    named = stream or source
    if named is not None and named.color is not None:
        if named.color.startswith("bayer") and channels == 1:
            return f"{named.color}{bits}"
        if named is stream and named.color in ("rgb", "rgba") and channels > 1:
            return f"{'rgb' if channels == 3 else 'rgba'}{bits}"
    if channels not in _BY_CHANNELS:
        raise ImageError("unconvertible", f"the compressed image has {channels} channels; expected 1, 3 or 4")
    return f"{_BY_CHANNELS[channels]}{bits}"


_CODECS = frozenset((*READABLE_CODECS, *OTHER_CODECS))


def _known(name: str) -> str | None:
    """The name as the encodings have it, whatever its case."""
    for spelling in (name, name.lower(), name.upper()):
        if _layout(spelling) is not None:
            return spelling
    return None


def _layout(name: str | None) -> PixelFormat | None:
    try:
        return None if name is None else pixel_format(name)
    except ImageError:
        return None
