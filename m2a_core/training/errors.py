"""Errors of training."""

from __future__ import annotations

from m2a_core.errors import M2aError


class TrainingError(M2aError):
    """Training cannot go on."""
