"""The open-set head: from the network's tensors to the result at the image's own size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.decision import View, decide
from m2a_core.openset.instances import describe_instances
from m2a_core.openset.objects import Candidates, ObjectFinder, Objects, drawn_by_color
from m2a_core.openset.panoptic import draw_unknown, merge_segments
from m2a_core.openset.road import lowered_off_road, road_hull, road_prior, stands_on
from m2a_core.openset.semantic import open_set_semantic
from m2a_core.preprocess import Geometry
from m2a_core.types import OpenSetResult, Output, UnknownInstance

NATIVE = (0, 0)
"""Size of maps that are as large as the network's, without its padding."""


_OF_OBJECTS = frozenset({Output.UNKNOWN_INSTANCES, Output.PANOPTIC})
_OF_REFINED = frozenset({Output.REFINED, Output.REFINED_ROAD})
_OF_SCORE = frozenset({Output.SCORE, Output.OPEN_SET})


class OpenSetHead:
    """Computes the outputs that a caller wants, and only those.

    Args:
        labels: the classes of the model.
        thresholds: where scores become decisions.
        candidates: where unknown instances are looked for; None: where it suits the labels.
        low_threshold: refined score from which what is no instance yet becomes a candidate of the result; None, or at
            least the threshold of instances, for no such candidates.
        decision: which score decides what is unknown.
    """

    def __init__(
        self,
        labels: LabelSet,
        thresholds: Thresholds,
        candidates: Candidates | None = None,
        low_threshold: float | None = None,
        decision: Decision = Decision.ANOMALY,
    ) -> None:
        self._labels = labels
        self._thresholds = thresholds
        self._finder = ObjectFinder(labels, thresholds, candidates, low_threshold)
        self._decision = decision

    def compute(
        self,
        net: NetworkOutput,
        geometry: Geometry,
        wanted: frozenset[Output],
        size: tuple[int, int] | None = None,
        image: np.ndarray | None = None,
    ) -> OpenSetResult:
        """Run the heads on the network's tensors of one image; see ``compute_view``."""
        return self.compute_view(decide(net, self._decision), geometry, wanted, size, image)

    def compute_view(
        self,
        view: View,
        geometry: Geometry,
        wanted: frozenset[Output],
        size: tuple[int, int] | None = None,
        image: np.ndarray | None = None,
    ) -> OpenSetResult:
        """Run the heads.

        Args:
            view: what the network says of an image, with the scores that decide.
            geometry: how the image lies in the view's maps.
            wanted: the outputs to compute.
            size: height, width of the maps; None for the image's own, ``NATIVE`` for the view's.
            image: uint8 [H0, W0, 3], the image itself, its channels in any order, for outlines of small instances;
                None leaves them as the scores have them.

        Returns:
            The wanted maps; others None. ``instances`` come with ``unknown_instances``.
            ``open_set`` is unknown exactly where ``score`` reaches its threshold.
        """
        maps = geometry if size is None else geometry.at(geometry.valid if size == NATIVE else size)
        score = refined = semantic = open_set = panoptic = unknown = None
        instances: tuple[UnknownInstance, ...] = ()
        candidates: tuple[UnknownInstance, ...] = ()
        candidate_map = None
        plain, objects, needs_objects = view, Objects(), wanted & _OF_OBJECTS
        largest = 0 if image is None else round(self._thresholds.color_area * geometry.valid[0] * geometry.valid[1])
        if largest:
            needs_objects |= wanted & (_OF_REFINED | _OF_SCORE if view.score is view.refined else _OF_REFINED)
        if needs_objects:
            objects = self._finder.find(view, geometry)
            if Output.UNKNOWN_INSTANCES not in wanted:
                objects = Objects(objects.strong)
            if image is not None and largest:
                objects, view = drawn_by_color(objects, view, geometry, image, largest)
        if wanted & {Output.SCORE, Output.OPEN_SET}:
            score = maps.undo_continuous(view.score)
        if Output.REFINED in wanted:
            same = view.refined is view.score and score is not None
            refined = score if same else maps.undo_continuous(view.refined)
        if wanted & {Output.SEMANTIC, Output.OPEN_SET}:
            semantic = maps.undo_labels(view.semantic)
        if Output.OPEN_SET in wanted:
            assert score is not None
            assert semantic is not None
            open_set = open_set_semantic(semantic, score, self._thresholds.anomaly, self._labels.unknown_id)
        if wanted & _OF_OBJECTS:
            numbers, instances = describe_instances(objects.strong, view.score, geometry)
            if Output.PANOPTIC in wanted:
                panoptic = self._panoptic(numbers, view, maps)
            if Output.UNKNOWN_INSTANCES in wanted:
                unknown = maps.undo_labels(numbers)
                if objects.weak:
                    weak_numbers, candidates = describe_instances(objects.weak, view.score, geometry)
                    candidate_map = maps.undo_labels(weak_numbers)
            if instances or candidates:
                hull = self._hull(view, geometry)
                instances, candidates = (_with_road(items, hull, geometry) for items in (instances, candidates))
        return OpenSetResult(
            anomaly=maps.undo_continuous(view.anomaly) if Output.ANOMALY in wanted else None,
            background=maps.undo_continuous(view.background) if Output.BACKGROUND in wanted else None,
            score=score if Output.SCORE in wanted else None,
            refined=refined,
            refined_road=self._on_road(view, maps) if Output.REFINED_ROAD in wanted else None,
            semantic=semantic if Output.SEMANTIC in wanted else None,
            open_set=open_set,
            panoptic=panoptic,
            unknown_instances=unknown,
            instances=instances if Output.UNKNOWN_INSTANCES in wanted else (),
            candidates=candidates,
            candidate_map=candidate_map,
            image_size=None if maps.original == geometry.original else geometry.original,
            score_by_color=view.score is not plain.score,
        )

    def _hull(self, view: View, geometry: Geometry) -> np.ndarray | None:
        height, width = geometry.valid
        return road_hull(view.semantic[:height, :width], self._labels.road)

    def _on_road(self, view: View, geometry: Geometry) -> np.ndarray:
        height, width = geometry.valid
        return geometry.undo_continuous(
            lowered_off_road(view.refined[:height, :width], road_prior(self._hull(view, geometry), geometry.valid))
        )

    def _panoptic(self, numbers: np.ndarray, view: View, maps: Geometry) -> np.ndarray:
        """Open-set panoptic map, int32 at the maps' size, from the numbers of unknown instances in the valid area."""
        segments = merge_segments(
            view.valid_cells(view.winning_query, maps),
            view.query_masks,
            view.class_probs,
            self._labels,
            self._thresholds.keep_score,
            self._thresholds.overlap,
        )
        # Drawn where it is small: a pixel of the image takes its id from the same place either way.
        panoptic = Geometry(maps.valid, maps.valid, (1.0, 1.0)).undo_labels(segments, view.stride)
        draw_unknown(panoptic, numbers, self._labels.unknown_id)
        return maps.undo_labels(panoptic)


def _with_road(
    instances: tuple[UnknownInstance, ...], hull: np.ndarray | None, geometry: Geometry
) -> tuple[UnknownInstance, ...]:
    """The instances, each with whether it stands on the road."""
    if hull is None:
        return instances
    (scale_y, scale_x), height = geometry.scale, geometry.valid[0]
    return tuple(
        replace(item, on_road=stands_on(hull, (item.contact[0] * scale_x, item.contact[1] * scale_y), height))
        for item in instances
    )
