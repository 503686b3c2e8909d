"""What a manifest says beyond the network itself."""

from __future__ import annotations

from dataclasses import dataclass

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds


@dataclass(frozen=True)
class BundleNotes:
    """Entries of a manifest that no graph can tell.

    Attributes:
        thresholds: where scores become decisions.
        license: terms of the weights.
        metrics: measured figures by name.
        decision: which scores the thresholds are of.
    """

    thresholds: Thresholds
    license: str
    metrics: dict[str, float]
    decision: Decision = Decision.BACKGROUND
