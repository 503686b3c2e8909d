"""Which compiled code may be loaded: what was built on this machine, where other users cannot write.

Loading a library runs its code. A hash beside it tells a damaged file from a whole one, but not one that somebody else
put there with a hash of his own; that the owner and the mode of the file and of every folder above it tell.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from m2a_core.errors import ModelError
from m2a_core.files import read_regular, replaced

MAX_BYTES = 1 << 30
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def require_own(library: Path) -> Path:
    """Check that only this user and root can write a library and the folders that lead to it.

    Args:
        library: a shared object.

    Returns:
        Its path without symbolic links, which is the one to load.

    Raises:
        ModelError: it is missing, no regular file, or somebody else can change or replace it.
    """
    try:
        path = library.resolve(strict=True)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{library}: not a regular file; name a compiled library")
        _require(path, status, may_be_sticky=False)
        for folder in path.parents:
            # In folders such as /tmp, everybody writes, but renames and deletes what is his alone.
            _require(folder, folder.stat(), may_be_sticky=folder != path.parent)
    except OSError as error:
        raise ModelError(f"{library}: cannot be read ({error.strerror}); it is a library to load") from error
    return path


def put_in_place(built: Path, library: Path) -> None:
    """Move a library that was just built to where it is kept, and write down its hash.

    Two processes may build at once; each then finds a whole file that nobody else can write, whatever their umask.

    Raises:
        OSError: it cannot be moved, read or written.
    """
    built.chmod(0o700)
    os.replace(built, library)
    keep_hash(library)


def keep_hash(library: Path) -> None:
    """Write down what was built, beside it.

    Raises:
        OSError: it cannot be read or written.
    """
    library.chmod(0o700)
    with replaced(_hash_file(library), alone=False) as staged:
        staged.write_text(f"{_hash(library)}  {library.name}\n", encoding="utf-8")
        staged.chmod(0o600)


def is_as_built(library: Path) -> bool:
    """Whether a library is the one that was built here, by the hash written down then.

    Raises:
        ModelError: it is there, but somebody else can change it; see `require_own`.
    """
    if not library.is_file():
        return False
    path = require_own(library)
    hash_file = _hash_file(path)
    if not hash_file.is_file():
        return False
    require_own(hash_file)
    try:
        return read_regular(hash_file, 4096).decode(errors="replace").split()[:1] == [_hash(path)]
    except OSError:
        return False


def make_own_folder(folder: Path) -> None:
    """Make a folder, and those above it, that only this user can write.

    Raises:
        OSError: it cannot be made.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _require(path: Path, status: os.stat_result, may_be_sticky: bool) -> None:
    user = os.geteuid()
    if status.st_uid not in (0, user):
        raise ModelError(
            f"{path}: belongs to user {status.st_uid}, and code is loaded of user {user} and root alone; delete what "
            "is there, or set HOME to a folder of your own"
        )
    is_shared = status.st_mode & _OTHERS and not (may_be_sticky and status.st_mode & stat.S_ISVTX)
    if is_shared:
        raise ModelError(
            f"{path}: others than its owner can write it (mode {stat.S_IMODE(status.st_mode):o}), so code from it is "
            f"not loaded; chmod go-w '{path}' after making sure of what is in it"
        )


def _hash(library: Path) -> str:
    return hashlib.sha256(read_regular(library, MAX_BYTES)).hexdigest()


def _hash_file(library: Path) -> Path:
    return library.with_name(library.name + ".sha256")
