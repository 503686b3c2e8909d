"""Panoptic quality against hotcoco, which follows panopticapi, and against hand-made cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
from PIL import Image

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.metrics.panoptic import PanopticQuality, Segments


def random_segments(rng: np.random.Generator, classes: int, crowds: bool) -> Segments:
    """Rectangles painted over void (id 0)."""
    ids = np.zeros((48, 64), np.int32)
    chosen, crowd, seen = {}, set(), set()
    for i in range(1, 14):
        y, x = rng.integers(0, 40), rng.integers(0, 50)
        ids[y : y + rng.integers(5, 25), x : x + rng.integers(5, 30)] = i
        chosen[i] = int(rng.integers(0, classes))
        if crowds and rng.random() < 0.15 and chosen[i] not in seen:  # one crowd a class and image, as in COCO
            crowd.add(i)
            seen.add(chosen[i])
    present = set(np.unique(ids).tolist())
    return Segments(ids, {i: c for i, c in chosen.items() if i in present}, frozenset(crowd & present))


def jittered(rng: np.random.Generator, truth: Segments, classes: int) -> Segments:
    ids = np.roll(truth.ids, tuple(rng.integers(-2, 3, 2)), (0, 1))
    classes_of = {i: c if rng.random() < 0.85 else int(rng.integers(0, classes)) for i, c in truth.classes.items()}
    present = set(np.unique(ids).tolist())
    return Segments(ids, {i: c for i, c in classes_of.items() if i in present})


def test_equals_an_independent_implementation_of_panopticapi_s_protocol(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours, images = PanopticQuality(), [{"id": n, "file_name": f"{n}.png", "height": 48, "width": 64} for n in range(12)]
    categories = [{"id": c, "name": str(c), "isthing": int(c < 2)} for c in range(5)]
    sides: dict[str, list[dict[str, Any]]] = {"truth": [], "predicted": []}
    for n in range(12):
        truth = random_segments(rng, 5, crowds=True)
        predicted = jittered(rng, truth, 5) if n % 2 else random_segments(rng, 5, crowds=False)
        ours.update(predicted, truth)
        for side, segments in zip(sides, (truth, predicted), strict=True):
            (tmp_path / side).mkdir(exist_ok=True)
            pixels = np.stack([segments.ids, segments.ids * 0, segments.ids * 0], -1).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{n}.png")
            entries = [
                {"id": i, "category_id": c, "iscrowd": int(i in segments.crowds), "bbox": [0, 0, 64, 48]}
                | {"area": int((segments.ids == i).sum())}
                for i, c in segments.classes.items()
            ]
            sides[side].append({"image_id": n, "file_name": f"{n}.png", "segments_info": entries})
    for side, described in sides.items():
        text = json.dumps({"images": images, "annotations": described, "categories": categories})
        (tmp_path / f"{side}.json").write_text(text)
    theirs = hotcoco.panoptic.pq_compute(str(tmp_path / "truth.json"), str(tmp_path / "predicted.json"))
    for classes, name in (((0, 1), "Things"), ((2, 3, 4), "Stuff"), (range(5), "All")):
        got = ours.quality(classes)
        expected = theirs[name]
        assert (got.pq, got.sq, got.rq) == pytest.approx([expected[k] for k in ("pq", "sq", "rq")], abs=1e-12)
    assert any(tally.tp for tally in ours.tallies.values())


def test_a_perfect_prediction_has_quality_one() -> None:
    truth = random_segments(np.random.default_rng(1), 3, crowds=False)
    quality = PanopticQuality()
    quality.update(truth, truth)
    result = quality.quality(range(3))
    assert (result.pq, result.sq, result.rq) == (1.0, 1.0, 1.0)


def test_touching_objects_of_one_class_are_matched_one_by_one() -> None:
    truth = Segments(np.repeat([[1, 2]], 4, 0).repeat(5, 1), {1: 0, 2: 0})
    merged = Segments(np.ones((4, 10), np.int32), {1: 0})
    quality = PanopticQuality()
    quality.update(merged, truth)
    tally = quality.tallies[0]
    assert (tally.tp, tally.fp, tally.fn) == (0, 1, 2)


def test_void_is_left_out_of_the_union_and_excuses_a_segment() -> None:
    truth_ids = np.zeros((1, 10), np.int32)
    truth_ids[0, :4] = 1
    quality = PanopticQuality()
    quality.update(Segments(np.full((1, 10), 7), {7: 0}), Segments(truth_ids, {1: 0}))
    assert quality.quality([0]).sq == 1.0
    excused = PanopticQuality()
    excused.update(Segments(np.full((1, 10), 7), {7: 2}), Segments(truth_ids, {1: 0}))
    assert 2 not in excused.tallies
    assert excused.tallies[0].fn == 1


def test_summary_keeps_the_unknown_apart() -> None:
    unknown = CAMVID11.unknown_id
    ids = np.array([[3 * 256] * 6, [8 * 256 + 1] * 6, [unknown * 256 + 1] * 6], np.int32)
    missing_unknown = np.where(ids == unknown * 256 + 1, 65535, ids)
    quality = PanopticQuality()
    quality.update(Segments.of_panoptic(missing_unknown), Segments.of_panoptic(ids))
    summary = quality.summary(CAMVID11)
    assert (summary["known"].pq, summary["things"].pq, summary["stuff"].pq) == (1.0, 1.0, 1.0)
    assert summary["unknown"].pq == 0.0
    assert summary["known"].n_classes == 2


def test_sizes_are_checked() -> None:
    with pytest.raises(DataError, match="same size"):
        PanopticQuality().update(Segments(np.zeros((2, 2)), {}), Segments(np.zeros((2, 3)), {}))


@pytest.mark.parametrize(("on_void", "false"), [(4, 1), (5, 1), (6, 0)])
def test_a_segment_is_excused_when_more_than_half_of_it_is_on_void(on_void: int, false: int) -> None:
    truth_ids = np.array([[0] * on_void + [1] * (10 - on_void)])
    quality = PanopticQuality()
    quality.update(Segments(np.full((1, 10), 7), {7: 2}), Segments(truth_ids, {1: 0}))
    assert (quality.tallies[2].fp if 2 in quality.tallies else 0) == false
