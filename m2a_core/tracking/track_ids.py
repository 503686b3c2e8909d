"""The numbers of tracks, in place of a frame's own, in every map that names instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from m2a_core.tracking.tracker import panoptic_instance
from m2a_core.types import PANOPTIC_DIVISOR, OpenSetResult, UnknownInstance


def renumber(result: OpenSetResult, numbers: Sequence[int], unknown_class: int) -> OpenSetResult:
    """Give the unknown instances other numbers.

    Args:
        result: with ``unknown_instances``; its panoptic map, if there is one, holds the same instances.
        numbers: of ``result.instances``, all different, 1..65535.
        unknown_class: class id of unknown objects.

    Returns:
        The result with these numbers in ``unknown_instances`` and ``instances``, and ``panoptic_instance`` of them in
        ``panoptic``.
    """
    own = [instance.id for instance in result.instances]
    if own == list(numbers) and max(own, default=0) < PANOPTIC_DIVISOR:
        return result
    assert result.unknown_instances is not None
    instances = tuple(replace(instance, id=n) for instance, n in zip(result.instances, numbers, strict=True))
    unknown, panoptic = _drawn(result, result.unknown_instances, own, instances, unknown_class)
    return replace(result, unknown_instances=unknown, panoptic=panoptic, instances=instances)


def promote_candidates(result: OpenSetResult, held: Mapping[int, int], unknown_class: int) -> OpenSetResult:
    """Take candidates up among the unknown instances.

    Args:
        result: with ``unknown_instances``.
        held: numbers by the ids of ``result.candidates`` to take up; none is an instance's number.
        unknown_class: class id of unknown objects.

    Returns:
        The result with these candidates as instances, after the others, in every map that names instances; without
        candidates.
    """
    if not held:
        return replace(result, candidates=(), candidate_map=None)
    assert result.candidate_map is not None
    own = [candidate.id for candidate in result.candidates if candidate.id in held]
    taken = tuple(replace(c, id=held[c.id]) for c in result.candidates if c.id in held)
    unknown, panoptic = _drawn(result, result.candidate_map, own, taken, unknown_class)
    instances = (*result.instances, *taken)
    return replace(
        result, unknown_instances=unknown, panoptic=panoptic, instances=instances, candidates=(), candidate_map=None
    )


def _drawn(
    result: OpenSetResult, source: np.ndarray, own: Sequence[int], instances: Sequence[UnknownInstance], unknown: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The instance and panoptic maps with the ``own`` ids of ``source`` drawn under the instances' numbers."""
    assert result.unknown_instances is not None
    drawn = result.unknown_instances.copy()
    panoptic = None if result.panoptic is None else result.panoptic.copy()
    for instance, old in zip(instances, own, strict=True):
        window = result.window(instance, source)
        mask = source[window] == old
        drawn[window][mask] = instance.id
        if panoptic is not None:
            panoptic[window][mask] = unknown * PANOPTIC_DIVISOR + panoptic_instance(instance.id)
    return drawn, panoptic
