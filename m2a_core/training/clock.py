"""How long a run will take, said once it has begun."""

from __future__ import annotations

import time

from m2a_core.training.config import StageConfig, TrainConfig

AFTER = 20
"""Steps after which the estimate is made."""


class Clock:
    """Times the first steps of a process, and says what is left at their pace."""

    def __init__(self, config: TrainConfig) -> None:
        """Take the stages."""
        self.config = config
        self.ends: list[float] = []

    def tick(self, stage: int, done: int) -> str | None:
        """Note the end of a step.

        Args:
            stage: position of the stage.
            done: steps of it that are done.

        Returns:
            The estimate, after as many steps as it takes; else None.
        """
        if len(self.ends) == AFTER:
            return None
        self.ends.append(time.perf_counter())
        if len(self.ends) < AFTER:
            return None
        return self._describe(stage, done, (self.ends[-1] - self.ends[0]) / (AFTER - 1))

    def _describe(self, stage: int, done: int, seconds: float) -> str:
        """Steps of later stages cost as their pixels do."""
        stages = self.config.stages
        left = [stages[stage].iterations - done, *(s.iterations for s in stages[stage + 1 :])]
        costs = [self._pixels(s) / self._pixels(stages[stage]) for s in stages[stage:]]
        total = seconds * sum(steps * cost for steps, cost in zip(left, costs, strict=True))
        return (
            f"time estimate after {AFTER} steps: {seconds:.2f} s a step, about {_in_words(total)} for the "
            f"{sum(left)} steps that are left (validation comes on top)"
        )

    def _pixels(self, stage: StageConfig) -> int:
        height, width = (stage.augment or self.config.data.augment).crop
        return stage.batch_size * height * width


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
