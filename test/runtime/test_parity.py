"""The parity gate's quantities, against SciPy and scikit-learn; and that it looks at every output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from m2a_core.bundle.loading import load_bundle, shipped_frames
from m2a_core.contract.io_spec import OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.images import read_image
from m2a_core.metrics.parity import TOLERANCES, compare, spearman, worst_of
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.onnx_runtime import OnnxRuntime

ZEROS = np.zeros((2, 3), np.float32)


def output(anomaly: np.ndarray, semantic: np.ndarray | None = None) -> NetworkOutput:
    labels = np.zeros(anomaly.shape, np.uint8) if semantic is None else semantic
    return NetworkOutput(
        anomaly.astype(np.float32), ZEROS, labels, ZEROS, np.zeros((2, 3), np.int32), np.zeros((4, 2, 3), bool), ZEROS
    )


def frames(count: int, seed: int = 0, noise: float = 0.0) -> list[NetworkOutput]:
    rng = np.random.default_rng(seed)
    maps = [rng.random((20, 30)) for _ in range(count)]
    return [output(m + noise * np.random.default_rng(i).normal(size=m.shape)) for i, m in enumerate(maps)]


def test_rank_correlation_is_spearmans_also_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 500), rng.integers(0, 5, 500)
    assert spearman(a, a + b) == pytest.approx(spearmanr(a, a + b).statistic)
    assert spearman(a, np.zeros(500)) == 0
    assert spearman(np.ones(5), np.ones(5)) == 1


def test_equal_outputs_have_no_loss():
    parity = compare(frames(3), frames(3))
    assert (parity.rank_correlation, parity.auprc_loss) == (pytest.approx(1), pytest.approx(0))
    assert parity.argmax_agreement == parity.refined_agreement == parity.query_agreement == parity.mask_iou == 1
    assert parity.max_error == parity.typical_error == parity.refined_error == parity.background_error == 0
    assert all(parity.violations(tolerance) == [] for tolerance in TOLERANCES.values())


def test_auprc_loss_is_that_of_finding_the_references_highest_pixels():
    reference, noisy = frames(2), frames(2, noise=0.05)
    truth = np.concatenate([r.anomaly.ravel() for r in reference])
    scores = np.concatenate([n.anomaly.ravel() for n in noisy])
    expected = average_precision_score(truth > np.quantile(truth, 0.95), scores)
    assert compare(noisy, reference).auprc_loss == pytest.approx(1 - expected, abs=1e-6)


def test_worst_frame_counts():
    good, bad = frames(2), frames(2)
    bad[1] = output(bad[1].anomaly[::-1], np.ones((20, 30), np.uint8))
    parity = compare(bad, good)
    assert parity.rank_correlation < 0.2
    assert parity.argmax_agreement == 0
    names = [violation.split()[0] for violation in parity.violations(TOLERANCES["mixed"])]
    assert names == ["rank_correlation", "auprc_loss", "argmax_agreement", "max_error", "typical_error"]


@pytest.mark.parametrize(("scale", "expected"), [(0.5, 0.2), (20, 0.01)])
def test_error_is_measured_by_the_scores_where_these_leave_the_unit_interval(scale, expected):
    reference = output(np.linspace(-scale, scale, 600).reshape(20, 30))
    parity = compare([output(reference.anomaly + 0.2)], [reference])
    assert parity.max_error == pytest.approx(expected, rel=1e-3)


def test_network_that_gives_no_numbers_is_out_of_every_tolerance():
    broken = frames(2)
    broken[0].anomaly[3, 4] = np.nan
    parity = compare(broken, frames(2))
    for tolerance in TOLERANCES.values():
        assert {v.split()[0] for v in parity.violations(tolerance)} >= {"rank_correlation", "auprc_loss", "max_error"}


@pytest.mark.parametrize(("got", "reference"), [(0, 0), (1, 2)])
def test_frames_must_be_the_same(got, reference):
    with pytest.raises(ValueError, match="same frames"):
        compare(frames(got), frames(reference))


@pytest.fixture(scope="module")
def seen() -> list[NetworkOutput]:
    """What the shipped network says of two real frames."""
    bundle = load_bundle("m2a-edge")
    runtime = OnnxRuntime(bundle)
    paths = sorted(shipped_frames().iterdir())[:20:10]
    return [runtime.infer(Letterbox(bundle.manifest.input_size).apply(read_image(path))[0]) for path in paths]


def one_inverted(masks: np.ndarray) -> np.ndarray:
    """The mask of the query that claims most, inverted."""
    changed = masks.copy()
    largest = masks.sum((1, 2)).argmax()
    changed[largest] = ~changed[largest]
    return changed


def one_swapped(probs: np.ndarray) -> np.ndarray:
    """Two classes of the surest query swapped."""
    changed = probs.copy()
    query = probs[:, :-1].max(-1).argmax()
    changed[query] = np.roll(changed[query], 1)
    return changed


MUTATIONS = [
    ("anomaly", "constant", lambda o: np.full_like(o.anomaly, 0.5), "rank_correlation"),
    ("anomaly", "inverted", lambda o: 1 - o.anomaly, "auprc_loss"),
    ("anomaly", "raised by 0.2", lambda o: o.anomaly + np.float32(0.2), "typical_error"),
    ("anomaly", "a cell in the wrong place", lambda o: np.roll(o.anomaly, 24, 1), "rank_correlation"),
    ("refined", "that of no pixel hidden", lambda o: o.anomaly, "refined_agreement"),
    ("refined", "all hidden", lambda o: np.zeros_like(o.refined), "refined_agreement"),
    ("refined", "doubled", lambda o: 2 * o.refined, "refined_error"),
    ("semantic", "shifted by one class", lambda o: o.semantic + np.uint8(1), "argmax_agreement"),
    ("semantic", "mirrored", lambda o: o.semantic[:, ::-1], "argmax_agreement"),
    ("background", "inverted", lambda o: 1 - o.background, "background_error"),
    ("background", "all of it", lambda o: np.ones_like(o.background), "background_error"),
    ("background", "no number", lambda o: np.full_like(o.background, np.nan), "background_error"),
    ("winning_query", "always the first", lambda o: np.zeros_like(o.winning_query), "query_agreement"),
    ("winning_query", "the next", lambda o: o.winning_query + 1, "query_agreement"),
    ("query_masks", "all inverted", lambda o: ~o.query_masks, "mask_iou"),
    ("query_masks", "one inverted", lambda o: one_inverted(o.query_masks), "mask_iou"),
    ("query_masks", "none", lambda o: np.zeros_like(o.query_masks), "mask_iou"),
    ("query_masks", "in another order", lambda o: np.roll(o.query_masks, 1, 0), "mask_iou"),
    ("class_probs", "in another order", lambda o: np.roll(o.class_probs, 1, 0), "probability_error"),
    ("class_probs", "one query of another class", lambda o: one_swapped(o.class_probs), "probability_error"),
]


BLAMED = {
    "anomaly": {"rank_correlation", "auprc_loss", "max_error", "typical_error"},
    "refined": {"refined_agreement", "refined_error"},
    "semantic": {"argmax_agreement"},
    "background": {"background_error"},
    "winning_query": {"query_agreement"},
    "query_masks": {"mask_iou"},
    "class_probs": {"probability_error"},
}


@pytest.mark.parametrize(("name", "_", "change", "quantity"), MUTATIONS, ids=[f"{m[0]} {m[1]}" for m in MUTATIONS])
def test_fault_in_any_one_output_of_one_frame_is_out_of_every_tolerance(seen, name, _, change, quantity):
    parity = compare([seen[0], replace(seen[1], **{name: change(seen[1])})], seen)
    for tolerance in TOLERANCES.values():
        assert quantity in [violation.split()[0] for violation in parity.violations(tolerance)]


def test_every_output_has_a_mutation_and_none_hides_behind_another_output():
    assert {mutation[0] for mutation in MUTATIONS} == {spec.name for spec in OUTPUTS}


@pytest.mark.slow
def test_only_the_broken_output_is_blamed(seen):
    for name, _, change, _ in MUTATIONS:
        got = [replace(frame, **{name: change(frame)}) for frame in seen]
        blamed = {violation.split()[0] for violation in compare(got, seen).violations(TOLERANCES["mixed"])}
        assert blamed <= BLAMED[name]


def test_worst_of_several_comparisons_has_the_worst_of_each_quantity_and_all_frames():
    good = compare(frames(2), frames(2))
    apart, rough = replace(good, mask_iou=0.2), replace(good, max_error=0.3, frames=3)
    assert worst_of([apart, good, rough]) == replace(good, mask_iou=0.2, max_error=0.3, frames=7)
