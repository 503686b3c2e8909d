"""How the process keeps memory that arrays of a frame have freed, for those of the next."""

from __future__ import annotations

import ctypes
import sys

# glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_FROM_HEAP = 32 << 20
_KEPT = 1 << 30


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to 1 GiB, and take arrays up to 32 MiB from it.

    For processes that work on one frame after the other. By default glibc maps each large array and unmaps it
    when it is freed: then each page of each array costs a page fault, half of the time that the open-set head takes for
    1080p. One arena, since the others give back what they can whatever the threshold. Does nothing where the C library
    is another; see mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (
            (_M_ARENA_MAX, 1),
            (_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP),
            (_M_TRIM_THRESHOLD, _KEPT),
        ):
            mallopt(parameter, value)
