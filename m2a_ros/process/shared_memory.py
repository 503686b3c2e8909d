"""What keeps processes of one machine from exchanging messages in shared memory."""

from __future__ import annotations

import os
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_FAST_DDS_FILES = ("fastdds_*", "fastrtps_*")
_FOR_EVERYBODY = 0o006
_LEAST = 128 * 2**20


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
