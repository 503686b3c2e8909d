"""The open-set head: from the network's tensors to the result at the image's own size."""

from __future__ import annotations

from enum import Enum

import numpy as np

from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.candidates import anomaly_candidates
from m2a_core.openset.components import Component
from m2a_core.openset.instances import MAX_INSTANCES, describe_instances
from m2a_core.openset.mining import PAPER_COMPONENTS, PAPER_ITERATIONS, mine_unknown
from m2a_core.openset.panoptic import draw_unknown, merge_segments
from m2a_core.openset.semantic import open_set_semantic
from m2a_core.preprocess import Geometry
from m2a_core.types import OpenSetResult, Output, UnknownInstance


class Candidates(str, Enum):
    """Where unknown instances are looked for.

    ``anomaly``: the refined anomaly score (Eq. 15), see ``candidates``. For driving, where all that belongs to the
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
        hold: refined score from which what is no instance yet becomes a candidate of the result; None, or at least
            the threshold of instances, for no such candidates.
    """

    def __init__(
        self,
        labels: LabelSet,
        thresholds: Thresholds,
        candidates: Candidates | None = None,
        hold: float | None = None,
    ) -> None:
        self._labels = labels
        self._thresholds = thresholds
        self._candidates = Candidates.suiting(labels) if candidates is None else candidates
        # Below the extent of instances, components would be others than without candidates.
        self._hold = thresholds.refined if hold is None else max(hold, thresholds.extent)

    def compute(self, net: NetworkOutput, geometry: Geometry, wanted: frozenset[Output]) -> OpenSetResult:
        """Run the heads.

        Args:
            net: the network's tensors of one image.
            geometry: how the image lies in the network's input.
            wanted: the outputs to compute.

        Returns:
            The wanted maps at the image's own size; others None. ``instances`` come with ``unknown_instances``.
            ``open_set`` is unknown exactly where ``anomaly`` reaches its threshold.
        """
        anomaly = refined = semantic = open_set = panoptic = unknown = None
        instances: tuple[UnknownInstance, ...] = ()
        candidates: tuple[UnknownInstance, ...] = ()
        candidate_map = None
        if wanted & {Output.ANOMALY, Output.OPEN_SET}:
            anomaly = geometry.undo_continuous(net.anomaly)
        if Output.REFINED in wanted:
            refined = geometry.undo_continuous(net.refined)
        if wanted & {Output.SEMANTIC, Output.OPEN_SET}:
            semantic = geometry.undo_labels(net.semantic)
        if Output.OPEN_SET in wanted:
            assert anomaly is not None
            assert semantic is not None
            open_set = open_set_semantic(semantic, anomaly, self._thresholds.anomaly, self._labels.unknown_id)
        if wanted & {Output.UNKNOWN_INSTANCES, Output.PANOPTIC}:
            strong, weak = self._split(self._mine(net, geometry), net, geometry)
            unknown, instances = describe_instances(strong, net.anomaly, geometry)
            if weak and Output.UNKNOWN_INSTANCES in wanted:
                candidate_map, candidates = describe_instances(weak, net.anomaly, geometry)
        if Output.PANOPTIC in wanted:
            assert unknown is not None
            panoptic = self._known_segments(net, geometry)
            draw_unknown(panoptic, unknown, self._labels.unknown_id)
        return OpenSetResult(
            anomaly=anomaly if Output.ANOMALY in wanted else None,
            refined=refined,
            semantic=semantic if Output.SEMANTIC in wanted else None,
            open_set=open_set,
            panoptic=panoptic,
            unknown_instances=unknown if Output.UNKNOWN_INSTANCES in wanted else None,
            instances=instances if Output.UNKNOWN_INSTANCES in wanted else (),
            candidates=candidates,
            candidate_map=candidate_map,
        )

    def _mine(self, net: NetworkOutput, geometry: Geometry) -> list[Component]:
        """Unknown instances at the network's size, inside the valid area."""
        height, width = geometry.valid
        limits = self._thresholds
        from_background = self._candidates is Candidates.BACKGROUND
        if from_background:
            candidates = net.background[:height, :width] >= limits.background
        else:
            candidates = anomaly_candidates(
                net.refined[:height, :width], min(self._hold, limits.refined), limits.extent
            )
        return mine_unknown(
            candidates,
            _valid_cells(net.query_masks, net, geometry),
            net.class_probs,
            self._labels,
            stride=_stride(net),
            mask_required=from_background,
            min_overlap=limits.component_overlap,
            min_area=max(1, round(limits.min_area * height * width)),
            number=PAPER_COMPONENTS if from_background else MAX_INSTANCES,
            iterations=PAPER_ITERATIONS if from_background else None,
        )

    def _split(
        self, components: list[Component], net: NetworkOutput, geometry: Geometry
    ) -> tuple[list[Component], list[Component]]:
        """Those that are instances, and those that are candidates only."""
        limits = self._thresholds
        if self._candidates is Candidates.BACKGROUND or self._hold >= limits.refined:
            return components, []
        height, width = geometry.valid
        seeded = anomaly_candidates(net.refined[:height, :width], limits.refined, limits.extent)
        parts: tuple[list[Component], list[Component]] = ([], [])
        for component in components:
            parts[0 if (seeded[component.window] & component.mask).any() else 1].append(component)
        return parts

    def _known_segments(self, net: NetworkOutput, geometry: Geometry) -> np.ndarray:
        """Closed-set panoptic map, int32 at the image's size."""
        segments = merge_segments(
            _valid_cells(net.winning_query, net, geometry),
            _valid_cells(net.query_masks, net, geometry),
            net.class_probs,
            self._labels,
            self._thresholds.keep_score,
            self._thresholds.overlap,
        )
        return geometry.undo_labels(segments, _stride(net))


def _stride(net: NetworkOutput) -> int:
    """Network input pixels per mask pixel."""
    return net.anomaly.shape[0] // net.query_masks.shape[1]


def _valid_cells(maps: np.ndarray, net: NetworkOutput, geometry: Geometry) -> np.ndarray:
    """The part of mask-size maps that the image covers, at least partly."""
    stride = _stride(net)
    height, width = (-(-n // stride) for n in geometry.valid)
    return maps[..., :height, :width]
