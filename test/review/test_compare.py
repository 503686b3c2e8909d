"""m2a replay compare: paired differences with block-bootstrap intervals, and the answer in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from m2a_core.errors import ConfigError, DataError
from m2a_ros.main import main
from m2a_ros.review.compare import compare
from m2a_ros.review.compare_verdict import decide
from m2a_ros.review.histograms import HistogramFile, bin_scores, load_histograms, pooled_metrics
from m2a_ros.review.replayed import load_replay

FRAMES, STEP = 60, 1_000_000_000


def scores(seed: int, shift: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Anomalous and known scores of each frame; ``shift`` moves the anomalous ones up."""
    rng = np.random.default_rng(seed)
    frames = [(rng.normal(0.6, 0.15, 40), rng.normal(0.35, 0.15, 400)) for _ in range(FRAMES)]
    return [(np.clip(a + shift, 0, 1).astype(np.float32), np.clip(k, 0, 1).astype(np.float32)) for a, k in frames]


def write_replay(folder: Path, frames, sha: str = "0", leave_out=(), truth_pixels: int = 40) -> Path:
    folder.mkdir()
    lines, histograms = [], HistogramFile()
    kept = [i for i in range(len(frames)) if i not in leave_out]
    for i in kept:
        anomaly, known = frames[i]
        histograms.add(anomaly, known)
        lines.append(
            {
                "bag": "drive",
                "camera": "front",
                "stamp_ns": i * STEP,
                "recorded_ns": i * STEP,
                "segment": "",
                "n_anomaly": truth_pixels,
                "n_known": len(known),
                "auprc": float(np.mean(anomaly)),
                "missed": float(np.mean(anomaly < 0.5)),
                "false": float(np.mean(known >= 0.5)),
            }
        )
    (folder / "truth_frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    histograms.save(folder / "truth_histograms.npz")
    exact = pooled(frames, kept)
    summary = {"bags": [{"name": "drive", "sha256": sha}], "model": {"name": folder.name}, "truth": {"pixel": exact}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def pooled(frames, kept) -> dict[str, float]:
    y = np.concatenate([np.r_[np.ones(len(frames[i][0])), np.zeros(len(frames[i][1]))] for i in kept])
    s = np.concatenate([np.concatenate(frames[i]) for i in kept])
    fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
    return {"auprc": float(average_precision_score(y, s)), "fpr95": float(fpr[np.argmax(tpr >= 0.95)])}


@pytest.fixture
def pair(tmp_path):
    def make(shift_b: float, **options):
        a = write_replay(tmp_path / "a", scores(1, 0.0))
        b = write_replay(tmp_path / "b", scores(1, shift_b), **options)
        return load_replay(a), load_replay(b)

    return make


def test_binned_metrics_are_scikit_learns_to_a_thousandth():
    frames = scores(3, 0.0)
    anomaly, known = (np.concatenate([frame[side] for frame in frames]) for side in (0, 1))
    found, exact = pooled_metrics(bin_scores(anomaly), bin_scores(known)), pooled(frames, range(FRAMES))
    assert float(found.auprc) == pytest.approx(exact["auprc"], abs=1e-3)
    assert float(found.fpr95) == pytest.approx(exact["fpr95"], abs=2e-3)


def test_scores_close_to_0_and_to_1_are_told_apart():
    known, anomaly = np.array([1e-5, 1 - 1e-4]), np.array([1e-4, 1 - 1e-5])
    assert len(np.flatnonzero(bin_scores(np.concatenate([known, anomaly])))) == 4


@pytest.mark.parametrize(
    ("shift", "verdict", "begin"),
    [(0.1, "better", "Yes: B is better"), (-0.1, "worse", "No: B is worse"), (0.0, "unclear", "Cannot tell whether")],
)
def test_answer(pair, shift, verdict, begin):
    found = compare(*pair(shift), block_s=5, draws=100)
    assert (found["verdict"], found["blocks"]) == (verdict, 12)
    assert found["answer"].startswith(begin)
    assert found["binning"] < 2e-3
    auprc = found["metrics"]["auprc"]
    exact = [pooled(scores(1, s), range(FRAMES))["auprc"] for s in (0.0, shift)]
    assert auprc["difference"] == pytest.approx(exact[1] - exact[0], abs=2e-3)
    assert auprc["low"] <= auprc["difference"] <= auprc["high"]
    assert (auprc["low"] == auprc["high"] == 0) == (shift == 0)
    missed = [np.mean(np.concatenate([a for a, _ in scores(1, s)]) < 0.5) for s in (0.0, shift)]
    assert found["metrics"]["missed"]["difference"] == pytest.approx(missed[1] - missed[0], abs=1e-9)


@pytest.mark.slow
def test_interval_is_that_of_a_bootstrap_written_out(pair):
    a, b = pair(0.02)
    found = compare(a, b, block_s=5, draws=400)["metrics"]["missed"]
    wrong = np.array([[np.sum(x < 0.5) for x, _ in scores(1, s)] for s in (0.0, 0.02)]).reshape(2, 12, 5).sum(axis=2)
    rng = np.random.default_rng(7)
    draws = [np.diff(wrong[:, rng.integers(0, 12, 12)].sum(axis=1))[0] / (FRAMES * 40) for _ in range(4000)]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(draws, (2.5, 97.5))), abs=2e-3)


def test_misses_at_an_equal_share_of_false_pixels_do_not_change_where_all_scores_shift(tmp_path):
    """A fine-tune moves all scores: misses at an unchanged threshold then say nothing of what was learnt."""
    moved = [[(x - 0.2).clip(0, 1) for x in frame] for frame in scores(1, 0.0)]
    replays = [write_replay(tmp_path / name, of) for name, of in (("a", scores(1, 0.0)), ("b", moved))]
    found = compare(*map(load_replay, replays), block_s=5, draws=100)
    assert found["metrics"]["missed"]["difference"] > 0.3
    even = found["missed_at_equal_false"]
    assert even["difference"] == pytest.approx(0, abs=5e-3)
    anomalous, known = (np.concatenate([frame[i] for frame in scores(1, 0.0)]) for i in (0, 1))
    quiet = np.sort(known)[-int(np.sum(known >= 0.5)) - 1]
    assert even["a"] == pytest.approx(np.mean(anomalous <= quiet), abs=5e-3)
    assert even["low"] <= even["difference"] <= even["high"]


def test_too_few_stretches_are_no_answer(pair):
    found = compare(*pair(0.1), block_s=30, draws=100)
    assert (found["verdict"], found["blocks"]) == ("unclear", 2)
    assert "at least 8 blocks" in found["answer"]


def test_frames_of_one_side_only_are_counted_and_left_out(pair):
    found = compare(*pair(0.1, leave_out=(3, 4)), block_s=5, draws=100)
    assert found["frames"] == {"paired": 58, "only_a": 2, "only_b": 0}


def test_other_bag_and_other_truth_are_refused(tmp_path):
    a, frames = load_replay(write_replay(tmp_path / "a", scores(1, 0))), scores(1, 0)
    with pytest.raises(ConfigError, match="SHA-256"):
        compare(a, load_replay(write_replay(tmp_path / "b", frames, sha="1")))
    with pytest.raises(ConfigError, match="another ground truth"):
        compare(a, load_replay(write_replay(tmp_path / "c", frames, truth_pixels=39)))


def test_folder_that_is_no_replay_is_refused(tmp_path):
    with pytest.raises(DataError, match="no finished replay"):
        load_replay(tmp_path)
    (tmp_path / "summary.json").write_text('{"truth": null}')
    with pytest.raises(DataError, match="without ground truth"):
        load_replay(tmp_path)


@pytest.mark.slow
def test_command_writes_json_and_page_and_prints_the_answer(tmp_path, capsys):
    a, b = write_replay(tmp_path / "a", scores(1, 0)), write_replay(tmp_path / "b", scores(1, 0.1))
    assert main(["replay", "compare", str(a), str(b), "--out", str(tmp_path / "report"), "--segment", "5"]) == 0
    assert capsys.readouterr().out.startswith("Yes: B is better than A on these roads: AuPRC +")
    found = json.loads((tmp_path / "report" / "comparison.json").read_text())
    page = (tmp_path / "report" / "comparison.html").read_text()
    assert found["answer"] in page
    assert "At an equal share of false pixels" in page
    assert main(["replay", "compare", str(a), "--out", str(tmp_path / "other")]) == 2
    assert "two folders" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missed", "false", "verdict", "begin"),
    [
        (
            (-0.2, -0.1),
            (-0.02, -0.01),
            "better",
            "Yes: B is better than A on these roads: missed anomalies -15.0 points",
        ),
        ((0.1, 0.2), (-0.01, 0.01), "worse", "No: B is worse than A on these roads: missed anomalies +15.0 points"),
        ((-0.2, -0.1), (0.01, 0.02), "unclear", "A trade: missed anomalies -15.0 points"),
        ((-0.1, 0.1), (-0.01, 0.01), "unclear", "Cannot tell whether"),
    ],
)
def test_other_thresholds_are_an_answer_where_the_ranking_is_the_same(missed, false, verdict, begin):
    spans = {"auprc": (-0.001, 0.001), "fpr95": (-0.001, 0.001), "missed": missed, "false": false}
    metrics = {name: {"difference": sum(span) / 2, "low": span[0], "high": span[1]} for name, span in spans.items()}
    found, answer = decide(metrics, 60, 12)
    assert (found, answer[: len(begin)]) == (verdict, begin)
    assert "AuPRC" in answer


def test_the_segments_of_the_replays_are_the_default_and_are_compared_by_name(tmp_path):
    folders = [write_replay(tmp_path / name, scores(1, shift)) for name, shift in (("a", 0.0), ("b", 0.1))]
    for folder in folders:
        lines = [json.loads(line) for line in (folder / "truth_frames.jsonl").read_text().splitlines()]
        for number, line in enumerate(lines):
            line["segment"] = "town" if number < 20 else "motorway"
        (folder / "truth_frames.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        summary = json.loads((folder / "summary.json").read_text())
        summary |= {"segment_s": 5.0, "truth": {**summary["truth"], "model_threshold": 0.5}}
        (folder / "summary.json").write_text(json.dumps(summary))
    found = compare(*map(load_replay, folders), draws=100)
    assert (found["block_s"], found["blocks"]) == (5.0, 12)
    assert found["thresholds"] == {"a": 0.5, "b": 0.5}
    assert [row["segment"] for row in found["named_segments"]] == ["town", "motorway"]
    town = pooled(scores(1, 0.1), range(20))["auprc"]
    assert found["named_segments"][0]["auprc_b"] == pytest.approx(town, abs=2e-3)


@pytest.mark.parametrize(
    "odd",
    [
        {"bins": np.zeros(1, np.uint16)},
        {"bins": np.array([0.5, 1.5])},
        {"bins": np.array([3, 2**14], np.uint16)},
        {"counts": np.array([1, -1])},
        {"counts": np.array([[1, 1]])},
        {"lengths": np.array([1])},
        {"lengths": np.array([3, -1])},
        {"lengths": np.array("x")},
    ],
)
def test_histograms_that_do_not_fit_together_are_refused(tmp_path, odd):
    good = {"bins": np.array([3, 9000], np.uint16), "counts": np.array([1, 2]), "lengths": np.array([2])}
    np.savez(tmp_path / "a.npz", **good)
    assert [(b.tolist(), c.tolist()) for b, c in load_histograms(tmp_path / "a.npz")] == [([3, 9000], [1, 2])]
    np.savez(tmp_path / "a.npz", **{**good, **odd})
    with pytest.raises(DataError, match="do not fit together"):
        load_histograms(tmp_path / "a.npz")


def test_histograms_that_are_no_archive_are_named(tmp_path):
    HistogramFile().save(tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:-30])
    with pytest.raises(DataError, match=r"a\.npz: cannot be read"):
        load_histograms(tmp_path / "a.npz")
