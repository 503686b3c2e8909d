"""Name maps between a foreign state dict and ours: every tensor accounted for, or an error that names it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from m2a_core.errors import CheckpointError

COUNTERS = ".num_batches_tracked"
"""Batch-norm counters: meaningless for inference, absent from files of older detectron2."""

_SHOWN = 8


@dataclass(frozen=True)
class Rule:
    r"""Where tensors of ours come from.

    Attributes:
        ours: pattern that a name of ours must match entirely.
        theirs: their names, with groups of ``ours`` as ``\1``; several are concatenated along the first axis.
        part: which third of the (packed q, k, v) tensor to take, or None for all of it.
    """

    ours: str
    theirs: str | tuple[str, ...]
    part: int | None = None


@dataclass(frozen=True)
class NameMap:
    """The rules of one kind of file.

    Attributes:
        source: what kind of file, for messages.
        rules: the first that matches counts; a name of ours that matches none is not in such files.
        unused: patterns of their names that have no counterpart and change nothing.
    """

    source: str
    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapped:
    """A converted state dict.

    Attributes:
        tensors: by our names; float32 where the model has floats.
        absent: names of ours that files of this kind do not have.
        unused: their names that were left out on purpose.
    """

    tensors: dict[str, torch.Tensor]
    absent: tuple[str, ...]
    unused: tuple[str, ...]


def map_names(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], names: NameMap, path: str
) -> Mapped:
    """Convert a foreign state dict.

    Args:
        state: the foreign tensors.
        expected: our model's state dict (only shapes and dtypes are read).
        names: the map.
        path: the file, for messages.

    Raises:
        CheckpointError: a tensor is missing, unknown, misshapen, not a number or not finite; all of them are named.
    """
    tensors: dict[str, torch.Tensor] = {}
    absent, missing, misshapen, bad = [], [], [], []
    used: set[str] = set()
    for name, want in expected.items():
        rule, theirs = _find(names.rules, name)
        if rule is None:
            absent.append(name)
            continue
        used.update(theirs)
        lacking = [t for t in theirs if t not in state]
        if lacking and name.endswith(COUNTERS):
            tensors[name] = torch.zeros(want.shape, dtype=want.dtype)
            continue
        if lacking:
            missing += [f"{t} {_shape_of_source(want, rule, theirs)}" for t in lacking]
            continue
        sources = [state[t] for t in theirs]
        if _join(sources, rule, [tuple(s.shape) for s in sources]) != tuple(want.shape):
            got = " + ".join(str(list(s.shape)) for s in sources)
            misshapen.append(f"{' + '.join(theirs)}: expected {_shape_of_source(want, rule, theirs)}, got {got}")
            continue
        problem = next((p for p in map(_problem, sources) if p), None)
        if problem:
            bad.append(f"{' + '.join(theirs)}: {problem}")
            continue
        joined = torch.cat(sources) if len(sources) > 1 else sources[0]
        if rule.part is not None:
            joined = joined.chunk(3)[rule.part]
        tensors[name] = joined.to(want.dtype).contiguous().clone()
    left = [name for name in state if name not in used]
    unused = [name for name in left if any(re.fullmatch(pattern, name) for pattern in names.unused)]
    unknown = [f"{name} {list(state[name].shape)}" for name in left if name not in set(unused)]
    _refuse(path, names.source, missing, unknown, misshapen, bad)
    return Mapped(tensors, tuple(absent), tuple(unused))


def _find(rules: Sequence[Rule], name: str) -> tuple[Rule | None, tuple[str, ...]]:
    for rule in rules:
        match = re.fullmatch(rule.ours, name)
        if match:
            templates = (rule.theirs,) if isinstance(rule.theirs, str) else rule.theirs
            return rule, tuple(match.expand(template) for template in templates)
    return None, ()


def _join(sources: Sequence[torch.Tensor], rule: Rule, shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Shape of the converted tensor, or None when the sources do not fit each other."""
    if any(s[1:] != shapes[0][1:] for s in shapes) or (len(shapes) > 1 and not shapes[0]):
        return None
    rows = sum(s[0] for s in shapes) if shapes[0] else 0
    if rule.part is None:
        return (rows, *shapes[0][1:]) if shapes[0] else ()
    return (rows // 3, *shapes[0][1:]) if shapes[0] and rows % 3 == 0 else None


def _shape_of_source(want: torch.Tensor, rule: Rule, theirs: tuple[str, ...]) -> list[int]:
    shape = list(want.shape)
    if shape and rule.part is not None:
        shape[0] *= 3
    if len(theirs) > 1:
        shape[0] //= len(theirs)
    return shape


def _problem(tensor: torch.Tensor) -> str | None:
    if tensor.is_complex() or tensor.dtype == torch.bool or tensor.is_quantized or tensor.layout != torch.strided:
        return f"expected plain numbers, got {tensor.dtype} {tensor.layout}"
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        return f"{int((~torch.isfinite(tensor)).sum())} of {tensor.numel()} values are NaN or infinite"
    return None


def _refuse(path: str, source: str, *problems: list[str]) -> None:
    titles = ("missing", "unknown", "misshapen", "unusable")
    if not any(problems):
        return
    lines = []
    for title, found in zip(titles, problems, strict=True):
        found = list(dict.fromkeys(found))
        if found:
            more = f"\n    ... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            lines.append(f"  {title} ({len(found)}):\n    " + "\n    ".join(found[:_SHOWN]) + more)
    *shapes, bad = problems
    what, advice = f"does not fit as {source}", "use the model whose backbone and classes it was trained with"
    if bad and not any(shapes):
        what, advice = "holds tensors that cannot be used", "fetch it again or train it again"
    raise CheckpointError(f"{path}: {what}; {advice}\n" + "\n".join(lines))
