"""Figures, checks, scores and charts of the demo, against NumPy and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from m2a_core.bundle.loading import load_bundle
from m2a_core.compose.clip import Clip, load_clip, save_clip
from m2a_core.compose.composer import Sighting
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.labels.label_set import CAMVID11
from m2a_core.openset.class_scores import sigmoid
from m2a_ros.demo.pictures import instances_of, overlay, write_video
from m2a_ros.demo.records import (
    ANOMALY,
    FRAME_ID,
    INSTANCES,
    MARKERS,
    OPEN_SET,
    Received,
    Sent,
    read_received,
    read_sent,
)
from m2a_ros.demo.scoring import baseline_bundle, recorded_maps, score
from m2a_ros.demo.summary import live_figures, mismatches
from test.tiny_bundle import RED, TOLERANCE, class_logits, tiny_colors, write_tiny_bundle

MS = 1_000_000
SENT = [Sent(1_000 * MS + i * 40 * MS, i % 38) for i in range(100)]


def answer(index: int, latency_ms: float, output: str = ANOMALY) -> Received:
    stamp = SENT[index].stamp
    return Received(output, stamp, FRAME_ID, stamp + int(latency_ms * MS))


def test_rates_latency_and_drops_are_numpys() -> None:
    latency = np.random.default_rng(1).gamma(4, 40, 25)
    received = [answer(i * 4, ms) for i, ms in enumerate(latency)]
    figures = live_figures(SENT, received)
    assert figures.sent == 100
    assert figures.sent_rate == pytest.approx(25.0)
    assert (figures.maps, figures.dropped) == (25, 75)
    arrivals = np.array([r.received for r in received]) / 1e9
    assert figures.map_rate == pytest.approx(24 / (arrivals[-1] - arrivals[0]))
    np.testing.assert_allclose(figures.latency_ms, latency, atol=1e-5)
    for p in (50, 95, 99):
        assert figures.percentiles_ms[p] == pytest.approx(np.percentile(latency, p), abs=1e-5)
    assert figures.per_second[:, 0].tolist() == [25, 25, 25, 25]
    assert figures.per_second[:, 1].tolist() == [7, 6, 6, 6]


def test_no_map_at_all_gives_figures_without_latency() -> None:
    figures = live_figures(SENT, [])
    assert (figures.maps, figures.map_rate, figures.dropped, figures.percentiles_ms) == (0, 0.0, 100, {})


def test_outputs_of_sent_frames_are_sound() -> None:
    markers = Received(MARKERS, SENT[3].stamp, "base_link", SENT[3].stamp + MS, items=3)
    nothing_seen = Received(MARKERS, 0, "", SENT[4].stamp + MS)
    assert mismatches(SENT, [answer(3, 10), answer(3, 11, OPEN_SET), markers, nothing_seen, nothing_seen]) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Received(ANOMALY, 42, FRAME_ID, 43), "stamp 42 was never sent"),
        (Received(OPEN_SET, SENT[0].stamp, "camera", SENT[0].stamp + 1), "frame_id 'camera'"),
        (Received(MARKERS, 42, "base_link", 43, items=1), "stamp 42 was never sent"),
        (answer(5, 20), "came 2 times"),
    ],
)
def test_an_output_that_belongs_to_no_sent_frame_is_reported(wrong: Received, says: str) -> None:
    problems = mismatches(SENT, [answer(5, 10), wrong])
    assert len(problems) == 1
    assert says in problems[0]


def test_records_survive_the_file_and_a_line_being_written_is_left_out(tmp_path: Path) -> None:
    received = [answer(1, 10), Received(MARKERS, 0, "", 5), Received(OPEN_SET, 7, "a,frame", 8, 2)]
    (tmp_path / "r.csv").write_text("".join(r.line() for r in received))
    assert read_received(tmp_path / "r.csv") == received
    (tmp_path / "s.csv").write_text("".join(s.line() for s in SENT[:3]) + "1234")
    assert read_sent(tmp_path / "s.csv") == SENT[:3]
    assert read_sent(tmp_path / "none.csv") == []


@pytest.fixture
def small_clip(tmp_path: Path) -> Clip:
    camera = GroundCamera(128, 96, 100.0, (64.0, 48.0), 1.2, 0.0)
    rng = np.random.default_rng(0)
    frames: list[tuple[np.ndarray, np.ndarray, list[Sighting]]] = []
    for _ in range(3):
        image = rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)
        truth = rng.choice(np.array([0, 0, 1, 255], np.uint8), (96, 128))
        frames.append((cv2.blur(image, (9, 9)), truth, []))
    save_clip(tmp_path / "clip", 25.0, camera, [Pose()] * 3, frames, {})
    return load_clip(tmp_path / "clip")


def test_scores_are_scikit_learns_on_the_same_frames(small_clip: Clip, tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / "tiny"))
    rng = np.random.default_rng(2)
    (tmp_path / "maps").mkdir()
    for i in (0, 2):
        np.savez(tmp_path / "maps" / f"{i:03d}.npz", anomaly_map=rng.random((96, 128), np.float32))
    maps = recorded_maps(tmp_path / "maps")
    scores = score(small_clip, maps, bundle, lambda frames: frames)
    truth = np.concatenate([small_clip.truth(i).ravel() for i in (0, 2)])
    keep = truth != 255
    published = np.concatenate([maps[i][ANOMALY].ravel() for i in (0, 2)])
    assert (scores.frames, scores.baseline_model) == (2, "tiny")
    assert scores.published.auprc == pytest.approx(average_precision_score(truth[keep], published[keep]), rel=1e-9)
    assert scores.baseline is not None
    baseline = np.concatenate([expected_maximum_softmax(small_clip.image(i)).ravel() for i in (0, 2)])
    assert scores.baseline.auprc == pytest.approx(average_precision_score(truth[keep], baseline[keep]), rel=1e-3)


def test_the_baseline_is_the_network_before_the_outlier_stage_where_it_is_shipped(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / "tiny"))
    assert baseline_bundle(bundle) == bundle
    write_tiny_bundle(tmp_path / "tiny-known", name="tiny-known")
    assert baseline_bundle(bundle).manifest.name == "tiny-known"


def expected_maximum_softmax(image: np.ndarray) -> np.ndarray:
    """From what test/tiny_bundle.py documents: mask logits are a colour distance at stride 4; no scaling is needed."""
    small = image.reshape(24, 4, 32, 4, 3).astype(np.float32).mean(axis=(1, 3))
    colors = np.array([*tiny_colors().values(), RED], np.float32)
    logits = 0.2 * (TOLERANCE - np.abs(small[None] - colors[:, None, None]).max(-1))
    full = np.stack([cv2.resize(m, (128, 96), interpolation=cv2.INTER_LINEAR) for m in logits.astype(np.float32)])
    c = class_logits()
    probabilities = (np.exp(c) / np.exp(c).sum(1, keepdims=True))[:, :-1]
    scores = np.einsum("qk,qhw->khw", probabilities, sigmoid(full))
    exponentials = np.exp(scores)
    return 1 - (exponentials / exponentials.sum(0)).max(0)


def test_instances_are_read_back_from_the_published_ids() -> None:
    ids = np.zeros((40, 60), np.uint16)
    ids[10:20, 5:15] = 7
    ids[30:35, 40:44] = 9
    anomaly = np.zeros((40, 60), np.float32)
    anomaly[ids == 7] = 0.75
    first, second = instances_of(ids, anomaly)
    assert (first.id, first.bbox, first.area, first.score) == (7, (5, 10, 15, 20), 100, 0.75)
    assert first.contact == (9.5, 19.0)
    assert (second.id, second.bbox) == (9, (40, 30, 44, 35))


def test_the_overlay_marks_the_instance_and_nothing_else() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    ids = np.zeros((200, 300), np.uint16)
    ids[120:160, 100:140] = 1
    known = np.full((200, 300), 255, np.uint8)
    known[ids == 1] = CAMVID11.unknown_id
    drawn = overlay(image, {ANOMALY: ids.astype(np.float32), OPEN_SET: known, INSTANCES: ids}, CAMVID11)
    changed = (drawn != image).any(axis=2)
    assert changed[125:155, 105:135].all()
    assert not changed[170:].any()
    assert not changed[:, :80].any()


def test_the_video_can_be_read_back_forth_and_back(tmp_path: Path) -> None:
    frames = [np.full((96, 128, 3), shade, np.uint8) for shade in (40, 120, 200)]
    write_video(tmp_path / "v.mp4", frames)
    reader, shades = cv2.VideoCapture(str(tmp_path / "v.mp4")), []
    while (got := reader.read())[0]:
        shades.append(float(got[1].mean()))
    np.testing.assert_allclose(shades, [40, 120, 200, 120], atol=4)
