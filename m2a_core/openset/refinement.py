"""Refinement of the anomaly map by confident stuff masks (Sec. 4.4, Eq. 15): f^r = R_M * f.

The paper defines the class filter both ways round. Text and Fig. 6: R_M is zero in the segments of stuff other than
road "and one otherwise". Below Eq. 15: C is one for *things or road* and R_M = C . M, which would keep scores only
inside confident known things and road, and erase every unknown object that no such mask covers. The first reading is
the one that filters false positives (Table 5d calls it "stuff without road", the authors' code computes it), so here
C selects stuff without road and R_M = 1 - [C . M > 0].

Variants, by name:

* ``paper`` (default): suppressed classes = stuff without road, of any label set; mask where sigmoid(M) > 0.5.
* ``official``: the authors' released code, for their Cityscapes checkpoints: suppressed ids 2..10 (sidewalk, id 1,
  stays although it is stuff), mask where score * sigmoid(M) >= 0.5, and nothing is suppressed unless at least two
  queries pass the filter. (Their left-right flip averaging is a matter of inference, not of this mask.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.labels.label_set import LabelSet

MIN_CLASS_SCORE = 0.95
"""A query takes part when its highest class score exceeds this (Sec. 4.4)."""

OFFICIAL_SUPPRESSED = frozenset(range(2, 11))
"""Cityscapes ids, building to sky, hard-coded in the authors' release."""


class Refinement(str, Enum):
    """Which definition of R_M; see the module."""

    PAPER = "paper"
    OFFICIAL = "official"


@dataclass(frozen=True)
class RefinementRule:
    """What makes a query suppress its pixels.

    Attributes:
        suppressed: class ids whose confident masks are filtered out.
        min_queries: nothing is suppressed with fewer confident queries.
        weighted: mask where score * sigmoid(M) >= 0.5; else where sigmoid(M) > 0.5.
    """

    suppressed: frozenset[int]
    min_queries: int
    weighted: bool


def refinement_rule(labels: LabelSet, variant: Refinement = Refinement.PAPER) -> RefinementRule:
    """The rule of a variant for a label set.

    Raises:
        ConfigError: ``official`` for classes other than the 19 of Cityscapes, for which alone it is defined.
    """
    match Refinement(variant):
        case Refinement.PAPER:
            return RefinementRule(labels.stuff - {labels.road}, min_queries=1, weighted=False)
        case Refinement.OFFICIAL:
            if labels.names != CITYSCAPES19.names:
                raise ConfigError(
                    f"refinement 'official' is defined for the classes of '{CITYSCAPES19.name}' only, "
                    f"the model has '{labels.name}'; use 'paper'"
                )
            return RefinementRule(OFFICIAL_SUPPRESSED, min_queries=2, weighted=True)


def refined_away(anomaly: np.ndarray, refined: np.ndarray) -> np.ndarray:
    """Where R_M of Eq. 15 is 0, read off f and f^r; so a graph need not say it by a map of its own.

    Args:
        anomaly: float [H, W], f.
        refined: float [H, W], R_M * f; may have been resized along with f: R_M is then taken at a half.

    Returns:
        bool [H, W]. False where f is exactly 0 and f^r says nothing.
    """
    twice = np.abs(refined)
    twice += twice
    removed: np.ndarray = twice < np.abs(anomaly)
    return removed
