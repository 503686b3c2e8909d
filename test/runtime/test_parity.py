"""The parity gate's quantities, against SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.metrics.parity import TOLERANCES, compare, spearman

EMPTY = np.zeros((1, 1, 1))


def output(anomaly: np.ndarray, semantic: np.ndarray | None = None) -> NetworkOutput:
    labels = np.zeros(anomaly.shape, np.uint8) if semantic is None else semantic
    return NetworkOutput(anomaly.astype(np.float32), EMPTY, labels, EMPTY, EMPTY, EMPTY, EMPTY)


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
    assert (parity.rank_correlation, parity.auprc_loss, parity.argmax_agreement, parity.max_error) == (
        pytest.approx(1), pytest.approx(0), 1, 0,
    )  # fmt: skip
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
    assert names == ["rank_correlation", "auprc_loss", "argmax_agreement", "max_error"]


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
