"""Messages of a latched publisher, which two subscriptions of one topic hear: each counts once."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 4
"""Messages by which one subscription may be ahead of the other."""


class HeardTwice:
    """Tells what one of two subscriptions has heard from what the other has not; belongs to one thread."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._alone = [deque[bytes](maxlen=_REMEMBERED) for _ in range(2)]

    def is_new(self, subscription: int, data: bytes | memoryview) -> bool:
        """Whether the other subscription has not heard a message.

        Args:
            subscription: 0 or 1, which has heard it now.
            data: the serialised message.
        """
        content, own, other = bytes(data), self._alone[subscription], self._alone[1 - subscription]
        if content not in other:
            own.append(content)
            return True
        # What came before it was heard by the other alone.
        while other.popleft() != content:
            pass
        return False
