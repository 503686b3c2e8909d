"""The numbers of tracks, in place of a frame's own, in every map that names instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from m2a_core.openset.tracking import panoptic_instance
from m2a_core.types import PANOPTIC_DIVISOR, OpenSetResult


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
    unknown = result.unknown_instances.copy()
    panoptic = None if result.panoptic is None else result.panoptic.copy()
    instances = []
    for instance, number in zip(result.instances, numbers, strict=True):
        x0, y0, x1, y1 = instance.bbox
        window = slice(y0, y1), slice(x0, x1)
        mask = result.unknown_instances[window] == instance.id
        unknown[window][mask] = number
        if panoptic is not None:
            panoptic[window][mask] = unknown_class * PANOPTIC_DIVISOR + panoptic_instance(number)
        instances.append(replace(instance, id=number))
    return replace(result, unknown_instances=unknown, panoptic=panoptic, instances=tuple(instances))


def hold(result: OpenSetResult, held: Mapping[int, int], unknown_class: int) -> OpenSetResult:
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
    assert result.unknown_instances is not None
    assert result.candidate_map is not None
    unknown = result.unknown_instances.copy()
    panoptic = None if result.panoptic is None else result.panoptic.copy()
    taken = []
    for instance in result.candidates:
        if instance.id in held:
            number = held[instance.id]
            x0, y0, x1, y1 = instance.bbox
            window = slice(y0, y1), slice(x0, x1)
            mask = result.candidate_map[window] == instance.id
            unknown[window][mask] = number
            if panoptic is not None:
                panoptic[window][mask] = unknown_class * PANOPTIC_DIVISOR + panoptic_instance(number)
            taken.append(replace(instance, id=number))
    instances = (*result.instances, *taken)
    return replace(
        result, unknown_instances=unknown, panoptic=panoptic, instances=instances, candidates=(), candidate_map=None
    )
