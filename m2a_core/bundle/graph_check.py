"""Looking through an ONNX graph before any runtime parses it: what could reach outside it, or keep it from ending.

Reads protobuf's wire format itself (https://protobuf.dev/programming-guides/encoding/), as a vehicle has no ``onnx``;
field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from m2a_core.contract.plugin import DOMAIN
from m2a_core.errors import ModelError, quoted
from m2a_core.varint import read_varint

MAX_GRAPH_BYTES = 2**31 - 1
"""Protobuf's own limit of a message."""
MAX_FIELDS = 2_000_000
"""Of the messages looked into; the graphs of m2a have some ten thousand."""

STANDARD_DOMAINS = ("", "ai.onnx")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Value = memoryview | int

_UNREPEATABLE = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)


@dataclass(frozen=True)
class _Message:
    """A kind of message, as far as it is looked into.

    Attributes:
        inside: kinds of the messages in it, by field number.
        refused: what a field would mean that a graph must not have, by field number.
    """

    inside: dict[int, str]
    refused: dict[int, str]


_EXTERNAL = (
    "keeps tensors in other files, which the graph's hash does not cover; save it as one file, as `m2a export` does"
)
_CONTROL = "has subgraphs (If, Loop, Scan), which m2a's graphs do without; export it again with `m2a export`"
_TENSOR_FIELDS = {13: _EXTERNAL, 14: _EXTERNAL}
_MESSAGES = {
    "Model": _Message({7: "Graph", 25: "Function"}, {20: "has training steps; export it again with `m2a export`"}),
    "Graph": _Message({1: "Node", 5: "Tensor", 15: "SparseTensor"}, {}),
    "Node": _Message({5: "Attribute"}, {}),
    "Attribute": _Message(
        {5: "Tensor", 10: "Tensor", 22: "SparseTensor", 23: "SparseTensor"}, {6: _CONTROL, 11: _CONTROL}
    ),
    "Tensor": _Message({}, _TENSOR_FIELDS),
    "SparseTensor": _Message({1: "Tensor", 2: "Tensor"}, {}),
    "Function": _Message({7: "BodyNode", 11: "Attribute"}, {}),
    "BodyNode": _Message({5: "Attribute"}, {}),
}
_NODE_DOMAINS = {"Node": (*STANDARD_DOMAINS, DOMAIN), "BodyNode": STANDARD_DOMAINS}
"""A function that calls others could call them without end."""


def require_whole(graph: bytes, path: Path) -> None:
    """Check that a graph brings all its tensors along and computes with operators that m2a exports.

    Args:
        graph: the file's bytes.
        path: the file, for messages.

    Raises:
        ModelError: not a protobuf message; tensors in other files, subgraphs, operators of another domain than ONNX's
            and m2a's, or such that give other results every time.
    """
    try:
        for kind, number, value in _walk(memoryview(graph)):
            if complaint := _complaint(kind, number, value):
                raise ModelError(f"{path}: {complaint}")
    except ValueError as error:
        raise ModelError(f"{path}: not a readable ONNX file ({error}); export it again with `m2a export`") from error


def _complaint(kind: str, number: int, value: _Value) -> str | None:
    refused = _MESSAGES[kind].refused.get(number)
    # `data_location` 0 says that the tensor's values are in it.
    if refused and not (kind == "Tensor" and value == 0):
        return refused
    check = _NAMES.get((kind, number))
    return check(kind, _text(value)) if check else None


def _check_domain(kind: str, domain: str) -> str | None:
    if domain in _NODE_DOMAINS[kind]:
        return None
    return f"has an operator of the domain {quoted(domain)}, expected ONNX's own and '{DOMAIN}'; export it again"


def _check_function(_: str, domain: str) -> str | None:
    return None if domain == DOMAIN else f"has a function of the domain {quoted(domain)}, expected '{DOMAIN}'"


def _check_operator(_: str, name: str) -> str | None:
    return f"has the operator {name}, whose results do not repeat; export it again" if name in _UNREPEATABLE else None


_NAMES: dict[tuple[str, int], Callable[[str, str], str | None]] = {
    **{(kind, 4): _check_operator for kind in _NODE_DOMAINS},
    **{(kind, 7): _check_domain for kind in _NODE_DOMAINS},
    ("Function", 10): _check_function,
}


def _walk(message: memoryview) -> Iterator[tuple[str, int, _Value]]:
    """Every field of the messages that are looked into, as kind of message, field number and value."""
    waiting = [("Model", message)]
    count = 0
    while waiting:
        kind, message = waiting.pop()
        inside = _MESSAGES[kind].inside
        for number, value in _fields(message):
            count += 1
            if count > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            yield kind, number, value
            if number in inside:
                if isinstance(value, int):
                    raise ValueError(f"a number for field {number} of {kind}")
                waiting.append((inside[number], value))


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    at, end = 0, len(message)
    while at < end:
        tag, at = read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = read_varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - at:
            raise ValueError("a field longer than what holds it")
        yield number, message[at : at + length]
        at += length


def _text(value: _Value) -> str:
    return str(value) if isinstance(value, int) else bytes(value[:4096]).decode("utf-8", "backslashreplace")
