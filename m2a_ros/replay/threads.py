"""Work on other threads beside the inference, never far ahead of it or behind."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

_WAIT_S = 0.1
_Item = TypeVar("_Item")


class Prefetcher(Generic[_Item]):
    """Runs an iterator on another thread, a few items ahead; a context manager, so that the thread always ends."""

    def __init__(self, source: Iterator[_Item], depth: int) -> None:
        """Set up; the thread starts with the ``with`` block.

        Args:
            source: what to iterate over.
            depth: items to hold at most.
        """
        self._source = source
        self._queue: Queue[_Item | BaseException | None] = Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="m2a-read-ahead", daemon=True)

    def __enter__(self) -> Iterator[_Item]:
        """Start, and give the items; an error of the source is raised where its item would have come."""
        self._thread.start()
        return self._items()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _items(self) -> Iterator[_Item]:
        while True:
            try:
                item = self._queue.get(timeout=_WAIT_S)
            except Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._source:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again on the reader's side
            last = error
        self._put(last)

    def _put(self, item: _Item | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_WAIT_S)
            except Full:
                continue
            return True
        return False


class BackgroundWriter:
    """Runs calls on another thread, in order, a few behind; a context manager, so that all are done at its end."""

    def __init__(self, depth: int) -> None:
        """Set up.

        Args:
            depth: calls to leave undone at most.
        """
        self._depth = depth
        self._executor = ThreadPoolExecutor(1, "m2a-write-behind")
        self._pending: deque[Future[Any]] = deque()

    def __enter__(self) -> BackgroundWriter:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the calls that are left; their errors are raised if the block ended well."""
        self._executor.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self._settle(0)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a call done; an error of an earlier one is raised here."""
        self._pending.append(self._executor.submit(function, *arguments))
        self._settle(self._depth)

    def _settle(self, left: int) -> None:
        while len(self._pending) > left:
            self._pending.popleft().result()
