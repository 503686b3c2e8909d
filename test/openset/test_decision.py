"""The scores that decide: which maps they are made of, and that a manifest says which."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.digest import sealed
from m2a_core.bundle.manifest import FILE_NAME, Manifest, Thresholds
from m2a_core.errors import ModelError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.openset.class_scores import anomaly_score, class_scores
from m2a_core.openset.decision import decide, decision_scores
from m2a_core.openset.head import OpenSetHead
from m2a_core.openset.refinement import refined_away
from m2a_core.preprocess import Letterbox
from m2a_core.types import ALL_OUTPUTS
from test.openset import reference
from test.openset.test_head import network_output
from test.tiny_bundle import write_tiny_bundle

SIZE = (64, 96)


def many_weak_claims() -> tuple[np.ndarray, np.ndarray]:
    """Ten queries, each of which claims the right half for a car a little: C and M."""
    class_logits = np.zeros((10, 12), np.float32)
    class_logits[:, 8], class_logits[:, 11] = 4, 5.5
    mask_logits = np.full((10, *SIZE), -8, np.float32)
    mask_logits[:, :, 48:] = 4
    return class_logits, mask_logits


def test_many_weak_claims_make_a_known_object_by_their_sum_and_an_unknown_one_by_the_strongest() -> None:
    class_logits, mask_logits = many_weak_claims()
    f = anomaly_score(class_scores(class_logits, mask_logits))
    assert f[:, 48:].max() < 0
    b = 1 - reference.claims(class_logits, reference.sigmoid(mask_logits)).max(0)
    assert b[:, 48:].min() > 0.8


@given(
    hnp.arrays(np.float32, (5, 6), elements=st.floats(-3, 1, width=32)),
    hnp.arrays(np.bool_, (5, 6)),
    hnp.arrays(np.float32, (5, 6), elements=st.floats(0, 1, width=32)),
)
def test_background_decides_by_b_halved_where_stuff_is_refined_away(f, kept, b) -> None:
    score, refined = decision_scores(f, f * kept, b, Decision.BACKGROUND)
    told = f != 0
    np.testing.assert_array_equal(score[told], np.where(kept, b, b / 2)[told])
    np.testing.assert_array_equal(score[~told], b[~told])
    np.testing.assert_array_equal(refined, score)


@given(hnp.arrays(np.float32, (5, 6), elements=st.floats(-3, 1, width=32)), hnp.arrays(np.bool_, (5, 6)))
def test_anomaly_decides_by_f_and_the_printed_f_r(f, kept) -> None:
    score, refined = decision_scores(f, f * kept, 1 - f, Decision.ANOMALY)
    np.testing.assert_array_equal(score, f)
    np.testing.assert_array_equal(refined, f * kept)


def test_the_refinement_mask_is_read_off_the_two_maps() -> None:
    rng = np.random.default_rng(3)
    mask = rng.random((20, 30)) < 0.5
    f = rng.uniform(-3, 1, mask.shape).astype(np.float32)
    np.testing.assert_array_equal(refined_away(f, f * mask), ~mask)


def test_mask_and_instances_follow_the_decision() -> None:
    anomaly, b = np.full(SIZE, -1, np.float32), np.full(SIZE, 0.1, np.float32)
    b[16:32, 40:72] = 0.9
    net = network_output(anomaly, b)
    geometry = Letterbox(SIZE).geometry(*SIZE)
    limits = Thresholds(anomaly=0.5, refined=0.5, min_area=0.001)
    by_f = OpenSetHead(CAMVID11, limits).compute(net, geometry, ALL_OUTPUTS)
    by_b = OpenSetHead(CAMVID11, limits, decision=Decision.BACKGROUND).compute(net, geometry, ALL_OUTPUTS)
    assert by_f.instances == ()
    assert not (by_f.open_set == CAMVID11.unknown_id).any()
    np.testing.assert_array_equal(by_b.open_set == CAMVID11.unknown_id, b > 0.5)
    assert [i.bbox for i in by_b.instances] == [(40, 16, 72, 32)]
    assert by_b.instances[0].score == pytest.approx(0.9)
    for result in (by_f, by_b):
        np.testing.assert_array_equal(result.anomaly, anomaly)
        np.testing.assert_array_equal(result.background, b)
    np.testing.assert_array_equal(by_b.score, b)


def test_a_decision_leaves_the_network_s_own_maps_alone() -> None:
    net = network_output(np.full(SIZE, 0.5, np.float32), np.full(SIZE, 0.25, np.float32))
    net = replace(net, refined=np.zeros(SIZE, np.float32))
    view = decide(net, Decision.BACKGROUND)
    assert view.score.max() == 0.125
    assert net.background.min() == view.background.min() == 0.25


def test_a_manifest_without_a_decision_means_the_printed_one(tmp_path) -> None:
    path = write_tiny_bundle(tmp_path / "tiny") / FILE_NAME
    data = json.loads(path.read_text())
    del data["decision"]
    old = Manifest.from_json(json.dumps(sealed(data)))
    assert old.decision is Decision.ANOMALY
    new = replace(old, decision=Decision.BACKGROUND)
    assert Manifest.from_json(new.to_json()) == new


@pytest.mark.parametrize("name", ["anomaly", "refined"])
def test_a_threshold_that_no_score_of_the_decision_reaches_is_refused(tmp_path, name: str) -> None:
    path = write_tiny_bundle(tmp_path / "tiny") / FILE_NAME
    data = json.loads(path.read_text())

    def read(decision: str, value: float) -> Manifest:
        stored = data | {"decision": decision, "thresholds": data["thresholds"] | {name: value}}
        return Manifest.from_json(json.dumps(sealed(stored)), "manifest.json")

    with pytest.raises(ModelError, match=rf"manifest\.json: threshold '{name}': expected at most 1, .*got 1\.5"):
        read("background", 1.5)
    # Eq. 7 has no upper end; and calibration stores the number next to the highest score.
    assert getattr(read("anomaly", 1.5).thresholds, name) == 1.5
    read("background", float(np.nextafter(np.float32(1), np.float32(2))))


def test_a_decision_that_nobody_knows_is_named(tmp_path) -> None:
    path = write_tiny_bundle(tmp_path / "tiny") / FILE_NAME
    data = json.loads(path.read_text()) | {"decision": "coin"}
    with pytest.raises(ModelError, match="'decision' is 'coin', this m2a knows anomaly, background"):
        Manifest.from_json(json.dumps(data))
