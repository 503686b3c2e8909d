"""What a manifest says beyond the network itself."""

from __future__ import annotations

from dataclasses import dataclass

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds, require_reachable


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

    def __post_init__(self) -> None:
        """Check that the thresholds are of these scores, before the work of an export; raises `ConfigError`."""
        require_reachable(self.thresholds, self.decision)
