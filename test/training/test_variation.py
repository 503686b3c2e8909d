"""Which cut-outs are pasted how often, and how they vary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2a_core.errors import ConfigError
from m2a_core.training.data_config import BlendConfig, OutlierConfig
from m2a_core.training.datasets import Cutout, load_cutouts
from m2a_core.training.variation import draw_weights, rotated, vary
from test.training.synthetic import disc, write_outliers

RED = (250, 10, 10)
OLD, MET = Path("outliers"), Path("harvested/outliers")


def cutouts(folder: Path, kind: str, count: int) -> list[Cutout]:
    return [Cutout(f"{kind}_{n}", kind, True, disc(RED), folder=folder) for n in range(count)]


def varied(seed: int = 0, **changes: float) -> np.ndarray:
    return vary(disc(RED), BlendConfig(**changes), np.random.default_rng(seed))


def test_a_folders_share_is_kept_and_split_evenly_between_its_kinds():
    given = [*cutouts(OLD, "ball", 90), *cutouts(MET, "pallet", 2), *cutouts(MET, "tyre", 8)]
    weights = draw_weights(given, {}, {MET: 0.6})
    assert weights.sum() == pytest.approx(1)
    assert weights[90:92].sum() == pytest.approx(0.3)
    assert weights[92:].sum() == pytest.approx(0.3)
    assert weights[:90] == pytest.approx(np.full(90, 0.4 / 90))


def test_a_share_of_nothing_goes_to_the_others():
    assert draw_weights(cutouts(OLD, "ball", 4), {}, {MET: 0.6}) == pytest.approx(np.full(4, 0.25))
    assert draw_weights(cutouts(MET, "tyre", 4), {}, {MET: 0.6}) == pytest.approx(np.full(4, 0.25))
    assert len(draw_weights([], {}, {MET: 0.6})) == 0


@pytest.mark.parametrize("shares", [{"elsewhere": 0.5}, {"a": 0.0}, {"a": 1.0}, {"a": 0.5, "b": 0.5}])
def test_shares_that_cannot_be_kept_are_refused(shares):
    with pytest.raises(ConfigError, match="shares"):
        OutlierConfig(more_roots=("a", "b"), shares=shares)


def test_what_was_harvested_is_never_held_apart_by_counting(tmp_path):
    write_outliers(tmp_path / "old", dict.fromkeys(("b_ball", "box", "fish", "shell", "tin", "wheel"), RED))
    write_outliers(tmp_path / "met", {"a_pallet": RED})
    seen, unseen = load_cutouts(tmp_path / "old", None, tmp_path / "met")
    assert "a_pallet" in {cutout.kind for cutout in seen}
    assert {cutout.kind for cutout in unseen} == {"b_ball", "wheel"}


def test_without_variation_nothing_changes_and_no_number_is_drawn():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(vary(disc(RED), BlendConfig(), rng), disc(RED))
    assert rng.integers(1 << 31) == np.random.default_rng(0).integers(1 << 31)


def test_recoloured_objects_keep_their_outline():
    changed = [varied(seed, recolor=1.0) for seed in range(8)]
    assert all((rgba[..., 3] == disc(RED)[..., 3]).all() for rgba in changed)
    assert len({tuple(rgba[20, 20, :3]) for rgba in changed}) == 8


def test_stretched_objects_keep_their_height_within_the_bound():
    widths = [varied(seed, stretch=1.5).shape for seed in range(20)]
    assert {height for height, _, _ in widths} == {40}
    assert min(width for _, width, _ in widths) >= round(40 / 1.5)
    assert max(width for _, width, _ in widths) <= round(40 * 1.5)
    assert len({width for _, width, _ in widths}) > 5


def test_hidden_parts_come_from_every_side_and_leave_half():
    sides = set()
    for seed in range(40):
        height, width, _ = varied(seed, hide=1.0).shape
        assert (height == 40) or (width == 40)
        assert min(height, width) >= 20
        sides.add(height < 40)
    assert sides == {True, False}


def test_a_turned_object_is_whole():
    square = np.full((20, 40, 4), 255, np.uint8)
    turned = rotated(square, 30.0)
    assert np.count_nonzero(turned[..., 3] > 127) == pytest.approx(800, rel=0.05)
