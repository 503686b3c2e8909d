"""Where the unknown objects of an image are: from the scores of its views to components."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from m2a_core.bundle.manifest import Thresholds
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.candidates import Layer, candidates_of, thick
from m2a_core.openset.color_outline import outline_by_color
from m2a_core.openset.components import Component, apart, around_peak
from m2a_core.openset.decision import View
from m2a_core.openset.instances import MAX_INSTANCES
from m2a_core.openset.mining import PAPER_COMPONENTS, PAPER_ITERATIONS, mine_unknown
from m2a_core.preprocess import Geometry


@dataclass(frozen=True)
class Objects:
    """Unknown objects of one image.

    Attributes:
        strong: the instances.
        weak: candidates, which are no instances by themselves.
    """

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


class ObjectFinder:
    """Finds unknown objects, by one rule for every frame.

    Args:
        labels: the classes of the model.
        thresholds: where scores become decisions.
        candidates: where objects are looked for; None: where it suits the labels.
        low_threshold: as of `m2a_core.openset.head.OpenSetHead`.
    """

    def __init__(
        self, labels: LabelSet, thresholds: Thresholds, candidates: Candidates | None, low_threshold: float | None
    ) -> None:
        self._labels = labels
        self._thresholds = thresholds
        self._candidates = Candidates.suiting(labels) if candidates is None else candidates
        # Below the extent of instances, components would be others than without candidates.
        self._low_threshold = thresholds.refined if low_threshold is None else max(low_threshold, thresholds.extent)

    def find(self, view: View, geometry: Geometry) -> Objects:
        """Unknown objects at the size of the view's maps, inside the valid area, as far as the scores say.

        Args:
            view: what the network says of an image, with the scores that decide.
            geometry: how the image lies in the view's maps.
        """
        share = self._thresholds.peak_share
        strong, weak = (
            [around_peak(component, view.refined, share) for component in found]
            for found in self._split(self._mine(view, geometry), view, geometry)
        )
        return Objects(strong, weak)

    def _mine(self, view: View, geometry: Geometry) -> list[Component]:
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
            view.valid_cells(view.query_masks, geometry),
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


def drawn_by_color(
    objects: Objects, view: View, geometry: Geometry, image: np.ndarray, largest: int
) -> tuple[Objects, View]:
    """Objects with the outlines that their colors draw, and the view with its scores along them.

    Args:
        objects: of `ObjectFinder.find`.
        view: what they were found in.
        geometry: how the image lies in the view's maps.
        image: uint8 [H0, W0, 3], its channels in any order.
        largest: pixels of the view's maps up to which an object is drawn so.
    """
    strong = outline_by_color(objects.strong, view.refined, image, geometry, largest)
    sharpened = strong.sharpened(view.refined)
    score = sharpened if view.score is view.refined else view.score
    # Candidates must not change what a frame shows by itself, so they are what instances leave of them.
    left = apart(objects.weak, strong.components, geometry.valid)
    weak = outline_by_color(left, view.refined, image, geometry, largest, strong.components)
    return Objects(strong.components, weak.components), replace(view, refined=sharpened, score=score)


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
