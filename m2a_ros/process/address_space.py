"""The limit of a process's address space (``ulimit -v``), below which libraries die instead of saying so."""

from __future__ import annotations

import resource

from m2a_core.errors import ConfigError

NEEDED = 1280 << 20
"""Bytes: ROS, ONNX Runtime and the shipped model map about 1.1 GiB on two cores."""


def require_address_space() -> None:
    """Check the limit before anything large is loaded.

    Raises:
        ConfigError: it is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < NEEDED:
        raise ConfigError(
            f"not enough memory: the process may map {limit >> 20} MiB (ulimit -v) and needs {NEEDED >> 20} MiB; raise "
            "the limit, and limit the resident memory instead (systemd's MemoryMax, docker's --memory)"
        )
