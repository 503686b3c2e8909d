"""The open-set head: from the network's tensors to the result at the image's own size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.candidates import Layer, candidates_of, thick
from m2a_core.openset.color_outline import outline_by_color
from m2a_core.openset.components import Component, apart, around_peak
from m2a_core.openset.decision import View, decide
from m2a_core.openset.instances import MAX_INSTANCES, describe_instances
from m2a_core.openset.mining import PAPER_COMPONENTS, PAPER_ITERATIONS, mine_unknown
from m2a_core.openset.panoptic import draw_unknown, merge_segments
from m2a_core.openset.road import road_hull, road_prior, stands_on
from m2a_core.openset.semantic import open_set_semantic
from m2a_core.preprocess import Geometry
from m2a_core.types import OpenSetResult, Output, UnknownInstance

NATIVE = (0, 0)
"""Size of maps that are as large as the network's, without its padding."""


_OF_OBJECTS = frozenset({Output.UNKNOWN_INSTANCES, Output.PANOPTIC})
_OF_REFINED = frozenset({Output.REFINED, Output.REFINED_ROAD})
_OF_SCORE = frozenset({Output.SCORE, Output.OPEN_SET})


@dataclass(frozen=True)
class _Objects:
    """Unknown instances, and the weaker candidates."""

    strong: list[Component] = field(default_factory=list)
    weak: list[Component] = field(default_factory=list)


class Candidates(str, Enum):
    """Where unknown instances are looked for.

    ``anomaly``: the refined score f^r, see ``candidates`` and ``decision``. For driving, where all that belongs to the
    scene is a known class.
    ``background``: the background (Eq. 17) reaches its threshold; then the paper's steps and hyper-parameters
    (Sec. 6.3). For open-set panoptic segmentation, where unlabelled stuff is normal.
    """

    ANOMALY = "anomaly"
    BACKGROUND = "background"

    @classmethod
    def suiting(cls, labels: LabelSet) -> Candidates:
        """``background`` for the classes of COCO panoptic, on which the paper mines unknowns; else ``anomaly``."""
        return cls.BACKGROUND if labels.name.startswith("coco_panoptic") else cls.ANOMALY


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
        self._candidates = Candidates.suiting(labels) if candidates is None else candidates
        # Below the extent of instances, components would be others than without candidates.
        self._low_threshold = thresholds.refined if low_threshold is None else max(low_threshold, thresholds.extent)
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
        plain, objects, needs_objects = view, _Objects(), wanted & _OF_OBJECTS
        largest = 0 if image is None else round(self._thresholds.color_area * geometry.valid[0] * geometry.valid[1])
        if largest:
            needs_objects |= wanted & (_OF_REFINED | _OF_SCORE if view.score is view.refined else _OF_REFINED)
        if needs_objects:
            objects = self._objects(view, geometry)
            if Output.UNKNOWN_INSTANCES not in wanted:
                objects = _Objects(objects.strong)
            if image is not None and largest:
                objects, view = _drawn_by_color(objects, view, geometry, image, largest)
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
            view.refined[:height, :width] * road_prior(self._hull(view, geometry), geometry.valid)
        )

    def _mine(self, view: View, geometry: Geometry) -> list[Component]:
        """Unknown instances at the size of the view's maps, inside the valid area."""
        height, width = geometry.valid
        limits = self._thresholds
        from_background = self._candidates is Candidates.BACKGROUND
        layers = _layers(view, geometry)
        if from_background:
            candidates = view.background[:height, :width] >= limits.background
        else:
            candidates = candidates_of(layers, geometry.valid, min(self._low_threshold, limits.refined), limits.extent)
        smallest = min(layer.area for layer in layers)
        mined = mine_unknown(
            candidates,
            _valid_cells(view.query_masks, view, geometry),
            view.class_probs,
            self._labels,
            stride=view.stride,
            mask_required=from_background,
            min_overlap=limits.component_overlap,
            min_area=max(1, round(limits.min_area * smallest)),
            number=PAPER_COMPONENTS if from_background else MAX_INSTANCES,
            iterations=PAPER_ITERATIONS if from_background else None,
        )
        return [c for c in mined if len(layers) == 1 or c.area >= round(limits.min_area * _seen_in(c, layers).area)]

    def _objects(self, view: View, geometry: Geometry) -> _Objects:
        """Unknown instances and candidates, as far as the scores say."""
        share = self._thresholds.peak_share
        strong, weak = (
            [around_peak(component, view.refined, share) for component in found]
            for found in self._split(self._mine(view, geometry), view, geometry)
        )
        return _Objects(strong, weak)

    def _split(
        self, components: list[Component], view: View, geometry: Geometry
    ) -> tuple[list[Component], list[Component]]:
        """Those that are instances, and those that are candidates only."""
        limits = self._thresholds
        if self._candidates is Candidates.BACKGROUND or self._low_threshold >= limits.refined:
            return components, []
        if not components:
            return [], []
        # Every component reaches as far as the weaker level goes: strong ones have a pixel of the stronger one.
        strong = thick(_layers(view, geometry), geometry.valid, limits.refined, _around(components))
        parts: tuple[list[Component], list[Component]] = ([], [])
        for component in components:
            parts[0 if strong[component.window][component.mask].any() else 1].append(component)
        return parts

    def _panoptic(self, numbers: np.ndarray, view: View, maps: Geometry) -> np.ndarray:
        """Open-set panoptic map, int32 at the maps' size, from the numbers of unknown instances in the valid area."""
        segments = merge_segments(
            _valid_cells(view.winning_query, view, maps),
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


def _drawn_by_color(
    objects: _Objects, view: View, geometry: Geometry, image: np.ndarray, largest: int
) -> tuple[_Objects, View]:
    """Objects with the outlines that their colors draw, and the view with its scores along them."""
    strong = outline_by_color(objects.strong, view.refined, image, geometry, largest)
    sharpened = strong.sharpened(view.refined)
    score = sharpened if view.score is view.refined else view.score
    # Candidates must not change what a frame shows by itself, so they are what instances leave of them.
    left = apart(objects.weak, strong.components, geometry.valid)
    weak = outline_by_color(left, view.refined, image, geometry, largest, strong.components)
    return _Objects(strong.components, weak.components), replace(view, refined=sharpened, score=score)


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


def _layers(view: View, geometry: Geometry) -> tuple[Layer, ...]:
    """The scores in which instances are looked for, by view."""
    height, width = geometry.valid
    return view.layers or (Layer(view.refined[:height, :width]),)


def _around(components: list[Component]) -> tuple[slice, slice]:
    """Rows and columns that hold all components, of which there is one at least."""
    windows = [component.window for component in components]
    rows, columns = (
        slice(min(span.start for span in spans), max(span.stop for span in spans))
        for spans in zip(*windows, strict=True)
    )
    return rows, columns


def _seen_in(component: Component, layers: tuple[Layer, ...]) -> Layer:
    """The finest view that the middle of a component lies in; the first one covers everything."""
    y, x = ((span.start + span.stop) // 2 for span in component.window)

    def holds(layer: Layer) -> bool:
        rows, cols = layer.window
        inside: bool = rows.start <= y < rows.stop and cols.start <= x < cols.stop
        return inside

    return min((layer for layer in layers if holds(layer)), key=lambda layer: layer.area)


def _valid_cells(maps: np.ndarray, view: View, geometry: Geometry) -> np.ndarray:
    """The part of mask-size maps that the image covers, at least partly."""
    height, width = (-(-n // view.stride) for n in geometry.valid)
    return maps[..., :height, :width]
