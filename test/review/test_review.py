"""m2a replay against ground truth in the bag: metrics, segments, objects with delays and distances, films, report."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from m2a_core.metrics.component import Track, component_metrics, frame_components
from m2a_core.perception import Perception
from m2a_core.types import Frame
from test.replay.bags import START, STEP, TOPIC, raw, write_bag
from test.replay.conftest import Replay, replay  # noqa: F401
from test.review.bags_with_truth import (
    FOCAL,
    HEIGHT_M,
    IDS,
    LABELS,
    approach,
    label,
    mark,
    rectified_images,
    rectified_parameters,
    road,
    truth_of,
)

TRUTH = ("--gt-topic", LABELS, "--gt-instances-topic", IDS, "--track", "obstacle")


@pytest.fixture
def approached(replay, tmp_path) -> Replay:  # noqa: F811
    marks = [mark(0, "town"), mark(3, "motorway")]
    bag = write_bag(tmp_path / "drive", approach() + marks)
    return replay(bag, *TRUTH, "--segment-topic", "/marks", "--scores", "all")


@pytest.mark.slow
def test_truth_of_topics_gives_the_figures_of_scikit_learn_overall_and_by_segment(approached, tiny):
    perception = Perception.load(tiny, threads=1)
    scores, truths = [], []
    for i in range(6):
        box = (40, 44 + 4 * i, 72, 60 + 4 * i)
        scores.append(np.clip(perception.infer(Frame(road(box if i >= 2 else None))).anomaly, 0, 1))
        truths.append(truth_of({7: box})[0])
    found = approached.summary["truth"]
    assert approached.code == 0
    assert (found["frames_scored"], found["frames_without_truth"], found["masks"]) == (6, 0, 6)
    exact = average_precision_score(np.ravel(truths), np.ravel(scores))
    assert found["overall"]["auprc"] == pytest.approx(exact, abs=1e-9)
    assert [(s["segment"], s["n_frames"]) for s in found["segments"]] == [("1: town", 3), ("2: motorway", 3)]
    for segment, part in zip(found["segments"], (slice(0, 3), slice(3, 6)), strict=True):
        exact = average_precision_score(np.ravel(truths[part]), np.ravel(scores[part]))
        assert segment["auprc"] == pytest.approx(exact, abs=1e-9)
    parts = [
        frame_components(s, t, found["overall"]["threshold"], Track.OBSTACLE)
        for s, t in zip(scores, truths, strict=True)
    ]
    assert found["overall"]["f1_star"] == pytest.approx(component_metrics(parts).f1_star)
    for row in found["thresholds"]:
        hit = np.array(scores) >= row["threshold"]
        assert row["tpr"] == pytest.approx(hit[np.array(truths) == 1].mean())
        assert row["fpr"] == pytest.approx(hit[np.array(truths) == 0].mean())
    assert found["model_threshold"] in [row["threshold"] for row in found["thresholds"]]
    assert set(found["scores"]) >= {"refined", "anomaly", "msp", "entropy", "rba", "maskomaly"}
    assert found["scores"]["msp"]["auprc"] == pytest.approx(found["scores"]["anomaly"]["auprc"], abs=0.05)
    assert {scored["n_frames"] for scored in found["scores"].values()} == {6}


@pytest.mark.slow
def test_object_has_delay_recall_and_distances(approached):
    (found,) = approached.summary["truth"]["objects"]
    assert (found["object"], found["frames_visible"], found["frames_found"]) == ("7", 6, 4)
    assert (found["delay_frames"], found["delay_s"]) == (2, pytest.approx(2 * STEP / 1e9))
    assert found["recall"] == pytest.approx(4 / 6)
    assert found["first_found_stamp_ns"] == START + 2 * STEP
    # The lowest row of the box is 59 + 4 i, its lower edge 0.5 below; the horizon is at row 48.
    for key, i in (("first_visible_distance_m", 0), ("first_found_distance_m", 2)):
        ahead = HEIGHT_M * FOCAL / (59.5 + 4 * i - 48)
        assert found[key] == pytest.approx(np.hypot(ahead, ahead * (64 - 55.5) / FOCAL), rel=1e-6)


@pytest.mark.slow
def test_objects_of_rectified_images_are_as_far_as_p_says(replay, tmp_path):  # noqa: F811
    bag, file = write_bag(tmp_path / "drive", rectified_images(approach())), rectified_parameters(tmp_path / "p.yaml")
    (found,) = replay(bag, *TRUTH, "--params-file", file).summary["truth"]["objects"]
    ahead = HEIGHT_M * FOCAL / (59.5 - 48)
    expected = np.hypot(ahead, ahead * (64 - 55.5) / FOCAL)
    assert found["first_visible_distance_m"] == pytest.approx(expected, rel=1e-6)


def test_objects_without_ids_are_followed_and_without_calibration_have_no_distance(replay, tmp_path):  # noqa: F811
    messages = [m for m in approach() if m.topic in (TOPIC, LABELS)]
    done = replay(write_bag(tmp_path / "drive", messages), "--gt-topic", LABELS, "--track", "obstacle")
    (found,) = done.summary["truth"]["objects"]
    assert (found["frames_visible"], found["delay_frames"], found["first_found_distance_m"]) == (6, 2, None)
    assert "no /cam/front/camera_info" in done.summary["truth"]["distances"]["drive/cam_front"]
    assert done.summary["bags"][0]["skipped_topics"] == {LABELS: "ground truth"}


def test_labels_that_match_no_frame_or_cannot_be_used_are_counted(replay, tmp_path):  # noqa: F811
    good = truth_of({7: (40, 44, 72, 60)})[0]
    messages = [raw(road((40, 44, 72, 60)), i) for i in range(3)]
    messages += [label(good, 0), label(good, 9), label(np.full_like(good, 3), 1), label(good, 0)]
    messages += [label(np.zeros((96, 128), np.float32), 2, encoding="32FC1")]
    done = replay(write_bag(tmp_path / "drive", messages), "--gt-topic", LABELS)
    found = done.summary["truth"]
    assert done.code == 1
    assert (found["frames_scored"], found["frames_without_truth"], found["masks_repeated"]) == (1, 1, 1)
    assert found["masks_without_frame"]["first"] == [f"drive/cam_front/{START + 9 * STEP}.png"]
    assert found["failed"]["count"] == 2
    assert any("32FC1" in text for text in found["failed"]["first"])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--gt-topic", "/nowhere"], "no bag has images there"),
        (["--gt-topic", LABELS, "--gt", "."], "give one of them"),
        (["--gt-instances-topic", IDS], "not ground truth"),
        (["--gt-topic", LABELS + "=rear"], "cameras are cam_front"),
        (["--gt-topic", LABELS, "--segment", "0"], "--segment 0"),
        (["--gt-topic", LABELS, "--mounting", "height=-1"], "--mounting"),
        (["--gt-topic", LABELS, "--scores", "best"], "expected 'all' or some of"),
        (["--scores", "all"], "--scores"),
    ],
)
def test_options_that_cannot_be_are_errors_before_anything_is_evaluated(replay, tmp_path, capsys, options, word):  # noqa: F811
    bag = write_bag(
        tmp_path / "drive", [raw(road(), 0), label(truth_of({})[0], 0), label(truth_of({})[1], 0, IDS, "16UC1")]
    )
    done = replay(bag, "--topic", TOPIC, *options)
    assert done.code == 2
    assert word in capsys.readouterr().err
    assert not done.out.exists()


class Loads(HTMLParser):
    """Collects what a page would load, its ids, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.ids, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (name == "href" and tag == "link"):
                self.sources.append(value)
            elif name == "href":
                self.links.append(value)
            elif name == "id":
                self.ids.append(value)


@pytest.mark.slow
def test_report_is_one_file_whose_links_lead_somewhere(approached):
    text = (approached.out / "report.html").read_text()
    page = Loads()
    page.feed(text)
    assert all(source.startswith("data:") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    for word in (
        "Timeline",
        "Map",
        "odometry",
        "Thresholds",
        "Anomaly scores side by side",
        "motorway",
        approached.summary["bags"][0]["sha256"],
    ):
        assert word in text
    film = cv2.VideoCapture(str(approached.out / "drive" / "clips" / "event_1.webm"))
    count = 0
    while film.read()[0]:
        count += 1
    assert count == 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the Debian package chromium")
@pytest.mark.parametrize("anchor", ["", "#event_1"])
def test_report_in_a_browser_says_nothing_on_the_console_and_opens_the_event(approached, tmp_path, anchor):
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"file://{approached.out / 'report.html'}{anchor}",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "CONSOLE" not in run.stderr
    (dialog,) = re.findall('<dialog id="event_1"[^>]*>', run.stdout)
    assert (" open" in dialog) == bool(anchor)


def test_a_drive_without_stamps_has_a_time_line_and_the_right_pictures(replay, tmp_path):  # noqa: F811
    boxes = [None, (40, 44, 72, 60), None, None]
    bag = write_bag(tmp_path / "bag", [raw(road(box), 10 * i, stamp=0) for i, box in enumerate(boxes)])
    done = replay(bag)
    text = (done.out / "report.html").read_text()
    assert "over 1.2 seconds" in text
    assert "Event 1: cam_front, 0.4 s, 1 frame, 1 object" in text
    assert f"Replay of {tmp_path.name}/bag" in text
    provenance = text[text.index('id="provenance"') :]
    assert "None" not in provenance
    assert "trial_frames" not in provenance, "it is of mode peak"
    assert "1 frames" not in text
    for shown in ("unknown area", "outline and box: an unknown instance", "road"):
        assert shown in text[text.index('aria-label="Legend"') :]
