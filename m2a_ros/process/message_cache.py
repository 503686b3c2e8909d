"""Messages that differ from the one before in their stamp alone, as calibrations do, deserialised once."""

from __future__ import annotations

from typing import Any

from rclpy.serialization import deserialize_message

_ENCAPSULATION, _STAMP_END = 4, 12
"""Where the stamp of a serialised message that begins with a header starts and ends, bytes."""


class MessageCache:
    """Reads the messages of one topic; one that is as the one before but for its stamp is that one again."""

    def __init__(self, kind: type) -> None:
        """Start empty; ``kind`` is the type of the messages, which begin with a header."""
        self._kind = kind
        self._bytes = b""
        self._message: Any = None

    def __call__(self, data: bytes | memoryview) -> Any:
        """The message; its stamp may be that of an earlier one.

        Raises:
            RuntimeError, UnicodeDecodeError: the bytes are not such a message.
        """
        data = bytes(data)
        unstamped = data[:_ENCAPSULATION] + data[_STAMP_END:]
        if self._message is None or unstamped != self._bytes:
            self._message, self._bytes = deserialize_message(data, self._kind), unstamped
        return self._message
