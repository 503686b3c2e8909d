import numpy as np
import onnxruntime
import pytest
import torch

from m2a_core.contract import io_spec
from m2a_core.export.open_set_graph import OpenSetGraph
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.class_scores import anomaly_score, class_scores, segmentation
from m2a_core.openset.refinement import Refinement, refinement_rule
from test.openset import reference

ALL_THINGS = LabelSet("things", CAMVID11.names, frozenset(range(11)), CAMVID11.colors, None)
CASES = [(CAMVID11, Refinement.PAPER), (CITYSCAPES19, Refinement.OFFICIAL), (ALL_THINGS, Refinement.PAPER)]


def _run(graph, c, m, size):
    with torch.no_grad():
        out = graph(torch.from_numpy(c)[None], torch.from_numpy(m)[None], size)
    return {spec.name: t[0].numpy() for spec, t in zip(io_spec.OUTPUTS, out, strict=True)}


def _assert_equal(got, expected):
    """1e-5, and class ids and 0/1 decisions equal unless the values they hang on are that close."""
    for name in ("anomaly", "background", "class_probs"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(got["winning_query"], expected["winning_query"])
    np.testing.assert_array_equal(got["query_masks"], expected["query_masks"])
    first, second = np.sort(expected["scores"], axis=0)[-2:][::-1]
    clear = first - second > 1e-5
    np.testing.assert_array_equal(got["semantic"][clear], expected["semantic"][clear])
    assert np.mean(np.abs(got["refined"] - expected["refined"]) > 1e-5) < 1e-3
    assert clear.mean() > 0.99


@pytest.mark.parametrize(("labels", "variant"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_paper_order_equals_the_numpy_functions(labels, variant, seed):
    c, m = reference.random_queries(seed, queries=10, classes=labels.num_classes, height=8, width=12)
    large = reference.bilinear_all(m, (32, 48)).astype(np.float32)
    scores = class_scores(c, large)
    anomaly, rule = anomaly_score(scores), refinement_rule(labels, variant)
    expected = {
        "scores": scores,
        "anomaly": anomaly,
        "semantic": segmentation(scores),
        "refined": anomaly * reference.refinement_mask(c, reference.sigmoid(large), **vars(rule)),
        "background": 1 - reference.claims(c, reference.sigmoid(large)).max(0),
        "winning_query": reference.claims(c, reference.sigmoid(m)).argmax(0),
        "query_masks": m >= 0,
        "class_probs": reference.softmax_rows(c),
    }
    _assert_equal(_run(OpenSetGraph(labels, "paper", variant), c, m, (32, 48)), expected)


@pytest.mark.parametrize(("labels", "variant"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_fast_order_equals_upsampled_small_maps(labels, variant, seed):
    c, m = reference.random_queries(seed, queries=10, classes=labels.num_classes, height=8, width=12)
    size = (32, 48)
    small_scores = class_scores(c, m)
    scores = reference.bilinear_all(small_scores, size)
    anomaly = reference.bilinear(anomaly_score(small_scores), size)
    rule = refinement_rule(labels, variant)
    probs = reference.softmax_rows(c)
    chosen = [q for q in range(len(c)) if probs[q].argmax() in rule.suppressed and probs[q].max() > 0.95]
    small = reference.sigmoid(m)
    hidden = np.zeros(m.shape[1:])
    if len(chosen) >= rule.min_queries:
        for q in chosen:
            hidden = np.maximum(hidden, small[q] * (probs[q].max() if rule.weighted else 1))
    expected = {
        "scores": scores,
        "anomaly": anomaly,
        "semantic": segmentation(scores),
        "refined": anomaly * (reference.bilinear(hidden, size) < 0.5),
        "background": 1 - reference.bilinear(reference.claims(c, small).max(0), size),
        "winning_query": reference.claims(c, small).argmax(0),
        "query_masks": m >= 0,
        "class_probs": probs,
    }
    _assert_equal(_run(OpenSetGraph(labels, "fast", variant), c, m, size), expected)


def _one_pixel(class_id, probability, mask_probability, count):
    """Queries of Cityscapes' classes with a given top probability (the rest evenly spread) and mask probability."""
    p = np.full(20, (1 - probability) / 19)
    p[class_id] = probability
    logit = np.log(mask_probability / (1 - mask_probability))
    return np.tile(np.log(p), (count, 1)).astype(np.float32), np.full((count, 1, 1), logit, np.float32)


@pytest.mark.parametrize("order", ["paper", "fast"])
@pytest.mark.parametrize(
    ("variant", "class_id", "probability", "mask_probability", "count", "suppressed"),
    [
        ("paper", 10, 0.96, 0.51, 1, True),
        ("paper", 10, 0.94, 0.99, 1, False),
        ("paper", 10, 0.96, 0.49, 1, False),
        ("paper", 1, 0.96, 0.99, 1, True),
        ("paper", 0, 0.96, 0.99, 1, False),
        ("paper", 13, 0.96, 0.99, 1, False),
        ("paper", 19, 0.96, 0.99, 1, False),
        ("official", 10, 0.96, 0.99, 1, False),
        ("official", 10, 0.96, 0.99, 2, True),
        ("official", 10, 0.96, 0.515, 2, False),
        ("official", 10, 0.96, 0.53, 2, True),
        ("official", 1, 0.96, 0.99, 2, False),
    ],
)
def test_refinement_decides_case_by_case(order, variant, class_id, probability, mask_probability, count, suppressed):
    c, m = _one_pixel(class_id, probability, mask_probability, count)
    out = _run(OpenSetGraph(CITYSCAPES19, order, Refinement(variant)), c, m, (4, 4))
    np.testing.assert_array_equal(out["refined"], np.zeros((4, 4)) if suppressed else out["anomaly"])
    assert (out["anomaly"] != 0).all()


@pytest.mark.parametrize("order", ["paper", "fast"])
@pytest.mark.parametrize(("labels", "variant"), CASES)
def test_order_of_queries_changes_no_map(order, labels, variant):
    c, m = reference.random_queries(7, queries=10, classes=labels.num_classes, height=3, width=4)
    shuffled = np.random.default_rng(7).permutation(len(c))
    graph = OpenSetGraph(labels, order, variant)
    one, other = _run(graph, c, m, (12, 16)), _run(graph, c[shuffled], m[shuffled], (12, 16))
    for name in ("anomaly", "refined", "background"):
        np.testing.assert_allclose(other[name], one[name], atol=1e-6)
    np.testing.assert_array_equal(shuffled[other["winning_query"]], one["winning_query"])


@pytest.mark.parametrize("order", ["paper", "fast"])
def test_background_is_at_least_the_anomaly_score(order):
    """S of a class sums what B takes the maximum of, so f <= B."""
    out = _run(OpenSetGraph(CAMVID11, order), *reference.random_queries(3, height=8, width=12), (32, 48))
    assert (out["anomaly"] <= out["background"] + 1e-6).all()


@pytest.mark.parametrize("order", ["paper", "fast"])
def test_padding_beyond_the_size_is_cut_off(order):
    c, m = reference.random_queries(0, height=8, width=12)
    graph = OpenSetGraph(CAMVID11, order)
    whole, cut = _run(graph, c, m, (32, 48)), _run(graph, c, m, (29, 45))
    for name in ("anomaly", "refined", "semantic", "background"):
        np.testing.assert_array_equal(cut[name], whole[name][:29, :45])


class _Batched(torch.nn.Module):
    def __init__(self, order, variant):
        super().__init__()
        self.heads = OpenSetGraph(CITYSCAPES19, order, variant)

    def forward(self, class_logits, mask_logits):
        return self.heads(class_logits, mask_logits, (32, 48))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "variant", "dynamo"),
    [
        ("paper", Refinement.PAPER, False),
        ("paper", Refinement.OFFICIAL, True),
        ("fast", Refinement.PAPER, True),
        ("fast", Refinement.OFFICIAL, False),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_exported_graph_gives_the_same_in_onnx_runtime(tmp_path, order, variant, dynamo):
    pairs = [reference.random_queries(seed, queries=10, classes=19, height=8, width=12) for seed in (1, 2)]
    c, m = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    module, path = _Batched(order, variant).eval(), tmp_path / "heads.onnx"
    names = {"input_names": ["c", "m"], "output_names": [spec.name for spec in io_spec.OUTPUTS]}
    inputs = (torch.from_numpy(c), torch.from_numpy(m))
    torch.onnx.export(module, inputs, path, dynamo=dynamo, opset_version=18 if dynamo else 17, verbose=False, **names)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"c": c, "m": m})
    sizes = {"B": 2, "H": 32, "W": 48, "h": 8, "w": 12, "Q": 10, "K+1": 20}
    for spec, got, expected in zip(io_spec.OUTPUTS, outputs, module(*inputs), strict=True):
        assert got.dtype == np.dtype(spec.dtype), spec.name
        assert got.shape == tuple(sizes[s] for s in spec.shape), spec.name
        np.testing.assert_allclose(got.astype(np.float64), expected.double().numpy(), atol=1e-5, err_msg=spec.name)
