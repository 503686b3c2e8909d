"""Hard negatives: known things that a network took for unknown, pasted into frames and labelled as known."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m2a_core.errors import ConfigError
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.data_config import BlendConfig, HardNegativeConfig
from m2a_core.training.datasets import Cutout, read_cutouts
from m2a_core.training.pasting import HORIZON, paste, place, size_off_ground
from m2a_core.training.targets import IGNORE

LEAST_SIZE = 6
"""Longer side of the smallest pasted cut-out, in pixels."""


class HardNegatives:
    """Pastes known things; where they were seen before decides where they stand and how large they are."""

    def __init__(
        self, cutouts: Sequence[Cutout], labels: LabelSet, classes: Mapping[str, str], ground: Sequence[int]
    ) -> None:
        """Take the things.

        Args:
            cutouts: what was taken for unknown.
            labels: the known classes.
            classes: kind -> name of a class; a kind that is named as a class is of that class.
            ground: ids of the classes that things stand on.

        Raises:
            ConfigError: ``classes`` names an unknown class or a kind that no cut-out has.
        """
        kinds = {cutout.kind for cutout in cutouts}
        for kind, name in classes.items():
            if kind not in kinds:
                raise ConfigError(f"data.hard_negatives.classes: no cut-out is of kind '{kind}'{_near(kind, kinds)}")
            if name not in labels.names:
                raise ConfigError(
                    f"data.hard_negatives.classes: {kind}: '{name}' is not a class of {labels.name}"
                    f"{_near(name, labels.names)}"
                )
        self.cutouts, self.labels, self.ground = list(cutouts), labels, tuple(ground)
        named = {kind: classes.get(kind, kind) for kind in kinds}
        self.class_ids = {kind: labels.names.index(name) for kind, name in named.items() if name in labels.names}

    def counts(self) -> list[str]:
        """Number and class of each kind, in words."""
        found = Counter(cutout.kind for cutout in self.cutouts)
        names = {kind: self.labels.names[class_id] for kind, class_id in self.class_ids.items()}
        return [f"{n} of {kind} (as {names.get(kind, 'what they lie on')})" for kind, n in sorted(found.items())]

    def add(
        self,
        image: np.ndarray,
        label: np.ndarray,
        outlier: np.ndarray,
        blend: BlendConfig,
        rng: np.random.Generator,
        instances: np.ndarray | None = None,
    ) -> None:
        """Paste one or two things, in place.

        Args:
            image: uint8 [H, W, 3], RGB.
            label: uint8 [H, W], class id or 255; covered pixels take the thing's class, or keep theirs.
            outlier: bool [H, W]; cleared where a thing covers.
            blend: how things are fitted in.
            rng: source of randomness.
            instances: int32 [H, W], or None.
        """
        for _ in range(int(rng.integers(1, 3))):
            cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
            foot, size = self.place(cutout, label, blend, rng)
            rgba = cutout.rgba[:, ::-1] if rng.random() < 0.5 else cutout.rgba
            class_id = self.class_ids.get(cutout.kind)
            new_label, new_outlier = label.copy(), outlier.copy()
            countable = instances if class_id in self.labels.things else None
            paste(
                image,
                new_label,
                new_outlier,
                np.ascontiguousarray(rgba),
                foot,
                size,
                IGNORE if class_id is None else class_id,
                blend,
                rng,
                countable,
            )
            outlier &= new_outlier
            if class_id is None:
                continue
            if instances is not None and countable is None:
                instances[new_label != label] = 0
            label[:] = new_label

    def place(
        self, cutout: Cutout, label: np.ndarray, blend: BlendConfig, rng: np.random.Generator
    ) -> tuple[tuple[int, int], float]:
        """Foot x, y and the longer side in pixels."""
        height, width = label.shape
        x, y, grounded = place(label, blend.on_road, self.ground, rng, blend.far)
        if cutout.size is None:
            return (x, y), size_off_ground(height, rng)
        size = cutout.size * rng.uniform(0.7, 1.4)
        if cutout.foot is None:
            return (x, y), max(LEAST_SIZE, size * height)
        if cutout.foot <= HORIZON + 0.02:
            # It does not lie on the ground: its row says nothing about its size.
            return (int(rng.integers(width)), round(cutout.foot * height)), max(LEAST_SIZE, size * height)
        if grounded:
            size *= (y / height - HORIZON) / (cutout.foot - HORIZON)
        return (x, y), float(np.clip(size * height, LEAST_SIZE, 0.7 * height))


def open_hard_negatives(
    config: HardNegativeConfig, root: Path, labels: LabelSet, ground: Sequence[int]
) -> HardNegatives | None:
    """Read the cut-outs of a configuration; None where it has none.

    Args:
        config: where they are.
        root: the data root.
        labels: the known classes.
        ground: ids of the classes that things stand on.

    Raises:
        ConfigError: a kind or a class does not exist.
        DataError: a file is missing or malformed.
    """
    if not config.roots:
        return None
    cutouts = [cutout for folder in config.roots for cutout in read_cutouts(root / folder)]
    return HardNegatives(cutouts, labels, config.classes, ground)


def _near(name: str, among: Sequence[str] | set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(among), 1)
    return f"; did you mean '{close[0]}'?" if close else f"; expected one of {', '.join(sorted(among)[:20])}"
