import numpy as np
import onnxruntime
import pytest
import torch

from m2a_core.contract import io_spec
from m2a_core.export.open_set_graph import OpenSetGraph
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.background import background, known_mask_scores, winning_query
from m2a_core.openset.class_scores import anomaly_score, class_scores, segmentation
from m2a_core.openset.refinement import Refinement, refinement_mask, refinement_rule
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
    anomaly = anomaly_score(scores)
    expected = {
        "scores": scores,
        "anomaly": anomaly,
        "semantic": segmentation(scores),
        "refined": anomaly * refinement_mask(c, large, refinement_rule(labels, variant)),
        "background": background(c, large),
        "winning_query": winning_query(c, m),
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
        "background": 1 - reference.bilinear(known_mask_scores(c, m).max(0), size),
        "winning_query": winning_query(c, m),
        "query_masks": m >= 0,
        "class_probs": probs,
    }
    _assert_equal(_run(OpenSetGraph(labels, "fast", variant), c, m, size), expected)


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
