import math

import numpy as np
import pytest

from m2a_core.openset.baseline_scores import SCORES, maskomaly, void_classifier
from test.openset import reference


def _by_pixel(pixel_score):
    """A score map from a function of one pixel's S."""

    def score(c, m):
        s = reference.class_scores(c, reference.sigmoid(m))
        return np.array([[pixel_score(s[:, y, x]) for x in range(s.shape[2])] for y in range(s.shape[1])])

    return score


def _entropy(s):
    p = np.exp(s) / np.exp(s).sum()
    return sum(-v * math.log(v) for v in p) / math.log(len(p))


def _maskomaly(c, m, anomaly_queries=(), road_queries=()):
    """Ackermann et al., written down pixel by pixel."""
    p, sig = reference.softmax_rows(c), reference.sigmoid(m)
    no_object = p.shape[1] - 1
    out = np.empty(m.shape[1:])
    for y, x in np.ndindex(*out.shape):
        rejection, covering, anomalous = 1.0, 0, 0.0
        for q in range(len(p)):
            claim = sig[q, y, x] * max(p[q])
            known = int(np.argmax(p[q])) != no_object
            if (known and max(p[q]) > 0.7) or q in road_queries:
                rejection = min(rejection, 1 - claim)
            covering += known and sig[q, y, x] > 0.1
            if q in anomaly_queries:
                anomalous = max(anomalous, claim)
        out[y, x] = 0.6 * (0 if covering >= 2 else rejection) + 0.4 * anomalous
    return out


PUBLISHED = {
    "msp": _by_pixel(lambda s: 1 - max(s)),
    "max_logit": _by_pixel(lambda s: -max(s)),
    "entropy": _by_pixel(_entropy),
    "energy": _by_pixel(lambda s: -math.log(sum(math.exp(v) for v in s))),
    "rba": _by_pixel(lambda s: -sum(math.tanh(v) for v in s)),
    "eam": lambda c, m: 1 - np.einsum("q,qyx->yx", reference.softmax_rows(c)[:, :-1].max(1), reference.sigmoid(m)),
    "aem": _by_pixel(lambda s: 1 - max(s)),
    "maskomaly": _maskomaly,
    "void_classifier": lambda c, m: np.einsum("q,qyx->yx", reference.softmax_rows(c)[:, -1], reference.sigmoid(m)),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(3))
def test_score_follows_its_published_formula(name, seed):
    c, m = reference.random_queries(seed)
    got = SCORES[name](c, m)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, PUBLISHED[name](c, m), atol=3e-6)


@pytest.mark.parametrize("seed", range(3))
def test_maskomaly_with_validated_queries(seed):
    c, m = reference.random_queries(seed, queries=9)
    c[8, -1] = 30  # a no-object query: only the lists make it count
    for lists in ({"anomaly_queries": [8, 2]}, {"road_queries": [8]}, {"anomaly_queries": [0], "road_queries": [1, 8]}):
        np.testing.assert_allclose(maskomaly(c, m, **lists), _maskomaly(c, m, **lists), atol=3e-6)


def test_void_classifier_of_a_network_with_a_void_class():
    c, m = reference.random_queries(0)
    expected = np.einsum("q,qyx->yx", reference.softmax_rows(c)[:, 4], reference.sigmoid(m))
    np.testing.assert_allclose(void_classifier(c, m, void_class=4), expected, atol=3e-6)


@pytest.mark.parametrize("name", SCORES)
def test_pixel_that_no_known_query_claims_scores_higher(name):
    """Two pixels: one inside a confident road mask, one inside a mask without a class only."""
    c = np.full((2, 12), -10, np.float32)
    c[0, 3], c[1, 11] = 10, 10
    m = np.array([[[9, -9]], [[-9, 9]]], np.float32)
    known, unknown = SCORES[name](c, m)[0]
    assert unknown > known


@pytest.mark.parametrize(("probability", "rejects"), [(0.69, False), (0.71, True)])
def test_maskomaly_rejects_by_confident_queries_only(probability, rejects):
    p = np.full((1, 12), (1 - probability) / 11)
    p[0, 3] = probability
    score = maskomaly(np.log(p), np.full((1, 1, 1), 20.0))[0, 0]
    assert score == pytest.approx(0.6 * (1 - probability) if rejects else 0.6, abs=1e-6)
