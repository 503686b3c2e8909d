"""Curves of a run from its log."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.plot_training import curve, draw, read_records

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def log(tmp_path):
    """Two stages; the first was killed after step 4 and resumed at step 2."""
    rows = [{"kind": "train", "stage": "known", "step": s, "ce": 9.0, "bce": 1.0, "dice": 1.0} for s in (1, 2, 3, 4)]
    rows += [{"kind": "train", "stage": "known", "step": s, "ce": 3.0, "bce": 1.0, "dice": 1.0} for s in (3, 4, 5)]
    rows += [{"kind": "validation", "stage": "known", "step": 5, "miou": 0.5, "anomaly_auprc": 0.1}]
    rows += [{"kind": "train", "stage": "outlier", "step": s, "ce": 2.0, "contrastive": 0.4} for s in (1, 2)]
    rows += [{"kind": "validation", "stage": "outlier", "step": 2, "miou": 0.6, "anomaly_auprc": 0.7}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_steps_are_counted_through_and_the_resumed_run_counts(log):
    ce = curve("ce", read_records(log)["train"], "ce")
    assert ce.x.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert ce.y.tolist() == [9, 9, 3, 3, 3, 2, 2]
    outlier = curve("contrastive", read_records(log)["train"], "contrastive")
    assert outlier.x.tolist() == [6, 7]
    assert curve("miou", read_records(log)["validation"], "miou").x.tolist() == [5, 7]


def test_long_runs_are_averaged():
    records = {step: {"ce": float(step % 2)} for step in range(1000)}
    ce = curve("ce", records, "ce", points=100)
    assert len(ce.x) == 100
    np.testing.assert_allclose(ce.y, 0.5)


def test_the_drawing_holds_both_charts_side_by_side(log):
    root = ElementTree.fromstring(draw(log))
    charts = root.findall(f"{SVG}svg")
    assert [c.get("y") for c in charts] == ["0", "320"]
    titles = [[t.text for t in c.iter(f"{SVG}text")] for c in charts]
    assert {"Losses", "ce", "bce", "dice", "contrastive"} <= set(titles[0])
    assert "pixel" not in titles[0]
    assert {"Validation on held-apart frames", "mIoU", "AuPRC"} <= set(titles[1])
    assert all(len(p.get("points").split()) >= 2 for c in charts for p in c.iter(f"{SVG}polyline") if p.get("points"))
