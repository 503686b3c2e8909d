"""Serialised messages taken and published as they lie in memory.

rclpy copies a message's bytes twice on either way, and keeps Python's other threads waiting meanwhile. Here the client
library below it is called instead: ``rcl_take_serialized_message`` and ``rcl_publish_serialized_message``
(https://docs.ros.org/en/rolling/p/rcl/), the same from Humble on. Where they are not found, rclpy does it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

_OK, _NO_MEMORY, _NOTHING_TAKEN = 0, 10, 401
"""``rcl/types.h``: RCL_RET_OK, RCL_RET_BAD_ALLOC, RCL_RET_SUBSCRIPTION_TAKE_FAILED."""


class Allocator(ctypes.Structure):
    """``rcutils_allocator_t``: functions for memory, and what they are given."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")]


class _Bytes(ctypes.Structure):
    """``rcutils_uint8_array_t``, which is ``rcl_serialized_message_t``."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", Allocator),
    ]


class _Taken:
    """A message's bytes, which the client library allocated, for NumPy to look at; freed with the last look."""

    def __init__(self, rcl: ctypes.CDLL, message: _Bytes) -> None:
        self._rcl, self._message = rcl, message
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (message.length,),
            "data": (message.buffer, True),
        }

    def __del__(self) -> None:
        self._rcl.rcutils_uint8_array_fini(ctypes.byref(self._message))


def take_raw(subscription: Subscription[Any]) -> memoryview | bytes | None:
    """Take a subscription's next message; None where none waits.

    Args:
        subscription: whose messages are wanted as they are, whatever its ``raw`` says.

    Returns:
        The serialised message, read-only.

    Raises:
        MemoryError: there is none for it.
        RuntimeError: the middleware could not give it.
    """
    rcl = client_library()
    with subscription.handle:
        if rcl is None:
            taken = subscription.handle.take_message(subscription.msg_type, True)
            return None if taken is None else bytes(taken[0])
        message = _Bytes(allocator=rcl.rcutils_get_default_allocator())
        code = rcl.rcl_take_serialized_message(subscription.handle.pointer, ctypes.byref(message), None, None)
    owner = _Taken(rcl, message)
    if code == _NOTHING_TAKEN:
        return None
    _require(code, rcl, "take a message")
    return memoryview(np.asarray(owner))


def publish_raw(publisher: Publisher[Any], data: np.ndarray) -> None:
    """Publish a serialised message.

    Args:
        publisher: of that type of messages.
        data: uint8 [N], contiguous; may be written to again at once.

    Raises:
        MemoryError: there is none for it.
        RuntimeError: the middleware did not take it.
    """
    rcl = client_library()
    if rcl is None:
        publisher.publish(data.tobytes())
        return
    message = _Bytes(data.ctypes.data, data.size, data.size, rcl.rcutils_get_default_allocator())
    with publisher.handle:
        code = rcl.rcl_publish_serialized_message(publisher.handle.pointer, ctypes.byref(message), None)
    _require(code, rcl, "publish a message")


def _require(code: int, rcl: ctypes.CDLL, what: str) -> None:
    if code == _OK:
        return
    rcl.rcutils_reset_error()
    raise MemoryError(f"none to {what}") if code == _NO_MEMORY else RuntimeError(f"cannot {what}: rcl's error {code}")


@cache
def client_library() -> ctypes.CDLL | None:
    """The functions that rclpy itself is linked with; None where they are not found."""
    try:
        library = ctypes.CDLL(rclpy_implementation.__file__)
        library.rcutils_get_default_allocator.restype = Allocator
        library.rcl_take_serialized_message.argtypes = [ctypes.c_void_p] * 4
        library.rcl_publish_serialized_message.argtypes = [ctypes.c_void_p] * 3
        library.rcutils_uint8_array_fini.argtypes = [ctypes.c_void_p]
        library.rcutils_reset_error.restype = None
    except (OSError, AttributeError):
        return None
    return library
