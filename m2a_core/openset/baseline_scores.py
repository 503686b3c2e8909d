"""Other anomaly scores of the paper's tables, computed from the same class and mask logits.

Every function takes class logits C, float [Q, K+1] (last = no object), and mask logits M, float [Q, H, W], and gives
an anomaly map, [H, W] of the same dtype, higher = more anomalous. S is Eq. 3, ``softmax(C)^T sigmoid(M)`` over the
known classes. Scores written for per-pixel logits take S for them, as RbA (Nayal et al.) does for mask networks.
Some differ by a constant or a monotone map only and thus rank pixels alike: ``msp``, ``max_logit`` and ``aem``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m2a_core.openset.class_scores import anomaly_score, class_scores, sigmoid, softmax


def msp(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Maximum softmax probability on mask classification, the paper's "Mask2Former": 1 - max_Z S.

    Hendrycks and Gimpel, ICLR 2017 (https://arxiv.org/abs/1610.02136), carried to masks by Eqs. 6 and 7.
    """
    return anomaly_score(class_scores(class_logits, mask_logits))


def max_logit(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Max logit: -max_Z S.

    Hendrycks et al., ICML 2022 (https://arxiv.org/abs/1911.11132).
    """
    anomaly: np.ndarray = -class_scores(class_logits, mask_logits).max(axis=0)
    return anomaly


def entropy(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Normalised entropy of p = softmax_Z(S): -sum_Z p log p / log K.

    Chan et al., "Entropy Maximization and Meta Classification", ICCV 2021 (https://arxiv.org/abs/2012.06575), Eq. 1.
    """
    probabilities = softmax(class_scores(class_logits, mask_logits), axis=0)
    anomaly: np.ndarray = -(probabilities * np.log(probabilities)).sum(axis=0) / np.log(
        probabilities.dtype.type(len(probabilities))
    )
    return anomaly


def energy(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Free energy: -log sum_Z exp S.

    Liu et al., NeurIPS 2020 (https://arxiv.org/abs/2010.03759), at temperature 1; on S as in
    https://github.com/NazirNayal8/RbA/blob/main/evaluate_ood.py (``get_energy``).
    """
    anomaly: np.ndarray = -np.log(np.exp(class_scores(class_logits, mask_logits)).sum(axis=0))
    return anomaly


def rba(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Rejected by all: -sum_Z tanh(S).

    Nayal et al., ICCV 2023 (https://arxiv.org/abs/2211.14293); their squashing function is tanh in
    https://github.com/NazirNayal8/RbA/blob/main/evaluate_ood.py (``get_RbA``).
    """
    anomaly: np.ndarray = -np.tanh(class_scores(class_logits, mask_logits)).sum(axis=0)
    return anomaly


def eam(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Ensemble over anomaly scores of masks: 1 - sum_q sigmoid(M_q) max_Z softmax(C_q).

    Grcić et al., CVPR workshops 2023 (https://arxiv.org/abs/2301.03407), as in
    https://github.com/matejgrcic/Open-set-M2F/blob/main/mask2former/evaluation/ood_detection_evaluation.py
    """
    confidence = softmax(class_logits)[:, :-1].max(axis=1)
    return 1 - np.tensordot(confidence, sigmoid(mask_logits), axes=1)


def aem(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Anomaly score of the ensemble over masks: 1 - max_Z sum_q sigmoid(M_q) softmax(C_q).

    The counterpart of ``eam`` in the same paper (https://arxiv.org/abs/2301.03407), which first pools the masks'
    class posteriors and then scores. The paper's text alone defines it, its released code does not contain it; with
    max-softmax as the score it is Eq. 7.
    """
    return anomaly_score(class_scores(class_logits, mask_logits))


def maskomaly(
    class_logits: np.ndarray,
    mask_logits: np.ndarray,
    anomaly_queries: Sequence[int] = (),
    road_queries: Sequence[int] = (),
) -> np.ndarray:
    """Maskomaly: 0.6 * rejection + 0.4 * anomalous masks.

    With p_q = max softmax(C_q): rejection = the minimum of 1 - p_q sigmoid(M_q) over queries of a known class with
    p_q > 0.7 and over ``road_queries``, zero where two or more queries of known classes have sigmoid(M_q) > 0.1
    (borders); anomalous masks = the maximum of p_q sigmoid(M_q) over ``anomaly_queries``.

    Ackermann et al., BMVC 2023 (https://arxiv.org/abs/2305.16972), constants of
    https://github.com/jan-ackermann/Maskomaly/blob/main/maskomaly/model.py

    Args:
        class_logits: C.
        mask_logits: M.
        anomaly_queries: queries of this network that fire on anomalies; the authors find them on labelled validation
            data. Without them the score is the rejection part.
        road_queries: queries of this network that fire on the road, from validation data likewise.

    Returns:
        Anomaly map in [0, 1].
    """
    probabilities = softmax(class_logits)
    top, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    masks = sigmoid(mask_logits)
    claims = confidence[:, None, None] * masks
    known = top != probabilities.shape[1] - 1
    rejecting = known & (confidence > 0.7)
    rejecting[list(road_queries)] = True
    rejection = 1 - claims[rejecting].max(axis=0, initial=0)
    rejection[(masks[known] > 0.1).sum(axis=0) >= 2] = 0
    # The road's own queries come after the borders in the authors' code; both only lower the value.
    anomalous = claims[list(anomaly_queries)].max(axis=0, initial=0)
    anomaly: np.ndarray = (0.6 * rejection + 0.4 * anomalous).astype(masks.dtype)
    return anomaly


def void_classifier(class_logits: np.ndarray, mask_logits: np.ndarray, void_class: int = -1) -> np.ndarray:
    """Void classifier: the score of a void class, sum_q softmax(C_q)_void sigmoid(M_q).

    Blum et al., "The Fishyscapes Benchmark", IJCV 2021 (https://arxiv.org/abs/1904.03215): a network trained with void
    as one more class. By default "no object" stands in for it, which needs no such training; a network with a void
    class gives its id.

    Args:
        class_logits: C.
        mask_logits: M.
        void_class: index into the K+1 classes.

    Returns:
        Anomaly map, >= 0.
    """
    return np.tensordot(softmax(class_logits)[:, void_class], sigmoid(mask_logits), axes=1)


Score = Callable[[np.ndarray, np.ndarray], np.ndarray]

SCORES: dict[str, Score] = {
    "msp": msp,
    "max_logit": max_logit,
    "entropy": entropy,
    "energy": energy,
    "rba": rba,
    "eam": eam,
    "aem": aem,
    "maskomaly": maskomaly,
    "void_classifier": void_classifier,
}
"""The scores by name, as ``--score`` takes them."""
