"""Writing safetensors files whose bytes depend on what is in them alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

_ALIGNMENT = 8


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file.

    The library sorts the tensors, but writes metadata in the order of a hash table that is seeded in every
    process (https://github.com/huggingface/safetensors, ``Metadata``); here they are sorted, too.

    Args:
        tensors: contiguous, on the CPU, none sharing memory with another.
        path: the file.
        metadata: text by name.

    Raises:
        OSError: it cannot be written.
        SafetensorError: a tensor cannot be stored.
    """
    data = save(dict(tensors))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header = {"__metadata__": dict(sorted(metadata.items())), **header} if metadata else header
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(data)[8 + length :])
