"""What keeps processes of one machine from exchanging messages in shared memory, and what ended ones left there."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_FAST_DDS_FILES = ("fastdds_*", "fastrtps_*")
_FOR_EVERYBODY = 0o006
_LEAST = 128 * 2**20
_SEGMENT = re.compile(r"fast(?:dds|rtps)_[0-9a-f]{16}")
_LOCK = "_el"
"""Fast DDS holds ``flock`` on SEGMENT_el for as long as the process lives that the segment belongs to."""
_JUST_MADE_S = 10.0
"""A lock file is made a moment before it is locked; nobody may hold it in between."""


def shared_memory_problem(folder: Path, user: int) -> str:
    """What keeps Fast DDS from handing over messages in shared memory; "" where nothing is seen.

    Args:
        folder: where shared memory is mounted.
        user: id of the user that this process runs as.
    """
    try:
        files = [path.stat() for pattern in _FAST_DDS_FILES for path in folder.glob(pattern)]
        system = os.statvfs(folder)
    except OSError:
        return ""
    if others := sorted({f.st_uid for f in files if f.st_uid != user and f.st_mode & _FOR_EVERYBODY != _FOR_EVERYBODY}):
        return (
            f"shared memory of another user (id {', '.join(map(str, others))}; this process runs as {user}) cannot be "
            "opened: run the publisher and this node as the same user, or both with "
            "FASTDDS_BUILTIN_TRANSPORTS=UDPv4 and without a profile"
        )
    if system.f_frsize * system.f_blocks < _LEAST:
        return f"{folder} is smaller than 128 MB, too little for shared memory: docker run --shm-size, or --ipc=host"
    return ""


def left_segments(folder: Path = SHARED_MEMORY) -> dict[Path, int]:
    """Segments of Fast DDS that no living process owns: one killed by SIGKILL leaves its 64 MiB until the next boot.

    Args:
        folder: where shared memory is mounted.

    Returns:
        Bytes by segment. Those of the last ten seconds, and what this user cannot open, are left out.
    """
    found = (path for pattern in _FAST_DDS_FILES for path in folder.glob(pattern) if _SEGMENT.fullmatch(path.name))
    sizes = {}
    for segment in sorted(found):
        with suppress(OSError):
            if _left(Path(f"{segment}{_LOCK}")):
                sizes[segment] = segment.stat().st_size
    return sizes


def _left(lock: Path) -> bool:
    file = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if time.time() - os.fstat(file).st_mtime < _JUST_MADE_S:
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)
    return True


def remove_left_segments(folder: Path = SHARED_MEMORY) -> int:
    """Remove `left_segments`; what cannot be removed stays.

    Args:
        folder: where shared memory is mounted.

    Returns:
        Bytes that are free again.
    """
    freed = 0
    for segment, size in left_segments(folder).items():
        with suppress(OSError):
            segment.unlink()
            freed += size
            Path(f"{segment}{_LOCK}").unlink()
    return freed
