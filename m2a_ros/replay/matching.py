"""Which of the images that were sent an answer is of, when stamps repeat: looped bags, drivers that stamp nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from m2a_ros.replay.node_session import Key
from m2a_ros.replay.player import Sent


class SentImages:
    """The images that were sent, in order.

    An answer carries camera, stamp and frame of its image. The node answers a camera's images in the order in which it
    got them, so an answer is of an image that was sent before it came, that has no answer yet, and that was sent after
    the last one that surely has.
    """

    def __init__(self) -> None:
        """Start with nothing sent."""
        self._images: list[Sent] = []
        self._of_key: defaultdict[Key, list[int]] = defaultdict(list)
        self._answered: set[int] = set()
        self._last_sure: dict[str, int] = {}

    def __len__(self) -> int:
        """How many were sent."""
        return len(self._images)

    def __iter__(self) -> Iterator[Sent]:
        """The images."""
        return iter(self._images)

    def add(self, image: Sent) -> None:
        """Note down an image; all that were sent before an answer came must be there when it is matched."""
        self._of_key[image.camera, image.stamp_ns, image.frame_id].append(len(self._images))
        self._images.append(image)

    def match(self, key: Key, arrived_ns: int) -> tuple[Sent, bool] | None:
        """The image that an answer is of, now counted as answered.

        Args:
            key: camera, stamp and frame of the answer.
            arrived_ns: when it came, ``time.monotonic_ns()``.

        Returns:
            The image, and whether it can be no other; None where no image of this key is without an answer.
        """
        last = self._last_sure.get(key[0], -1)
        free = [i for i in self._of_key.get(key, ()) if i not in self._answered]
        fitting = [i for i in free if i > last and self._images[i].sent_ns <= arrived_ns]
        if not free:
            return None
        chosen = (fitting or free)[0]
        self._answered.add(chosen)
        if len(fitting) == 1:
            self._last_sure[key[0]] = chosen
        return self._images[chosen], len(fitting) == 1

    def unanswered(self) -> list[Sent]:
        """The images without an answer; of several with one key, which of them it was may be a guess."""
        return [image for i, image in enumerate(self._images) if i not in self._answered]

    def sharing_a_stamp(self) -> int:
        """How many images have camera, stamp and frame in common with another."""
        return sum(len(images) for images in self._of_key.values() if len(images) > 1)
