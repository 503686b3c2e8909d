"""`m2a calibrate --like` with two tiny bundles: false alarms as many, instances as many and as far."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from m2a_core.cli.main import main
from m2a_core.perception import Perception
from m2a_core.types import Frame
from test.cli.test_evaluate_model import SIZE, write
from test.tiny_bundle import tiny_colors, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny", SIZE)


def road() -> np.ndarray:
    image = np.empty((*SIZE, 3), np.uint8)
    image[:], image[:40] = tiny_colors()["road"], tiny_colors()["sky"]
    return image


def written(folder: Path, images: Sequence[np.ndarray]) -> list[str]:
    """The options that take these as normal frames."""
    for number, image in enumerate(images):
        write(folder / f"{number}.png", image)
    return ["--images", str(folder), "--min-pixels", "1"]


def bundle_with(folder: Path, **thresholds: float) -> Path:
    path = write_tiny_bundle(folder, SIZE) / "manifest.json"
    stated = json.loads(path.read_text())
    stated["thresholds"] |= thresholds
    path.write_text(json.dumps({k: v for k, v in stated.items() if k != "digest"}))
    return path.parent


def test_as_many_normal_frames_raise_an_alarm_as_with_the_bundle_it_shall_be_like(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    images = [road() for _ in range(9)]
    for image in images:
        image[60:70, 8:18] = image[60:70, 8:18] + rng.integers(-40, 40, 3)
    options = written(tmp_path / "normal", images)
    perception = Perception.load(bundle)
    results = [perception.infer(Frame(image)) for image in images]
    highest = np.sort([of.score.max() for of in results if of.score is not None])
    # Of 96 rows and 128 columns, every row and every second column is looked at.
    scores = np.concatenate([of.refined[:, ::2].ravel() for of in results if of.refined is not None])
    middle = float(np.unique(scores)[len(np.unique(scores)) // 2])
    like = bundle_with(tmp_path / "like", anomaly=float(highest[6]), refined=float(highest[7]), extent=middle)
    assert main(["calibrate", "--model", str(bundle), *options, "--like", str(like)]) == 0
    chosen = json.loads((bundle / "manifest.json").read_text())["thresholds"]
    assert np.count_nonzero(highest >= chosen["anomaly"]) == 3
    refined = np.sort([of.refined.max() for of in results if of.refined is not None])
    wanted = np.count_nonzero(refined >= highest[7])
    assert np.count_nonzero(refined >= chosen["refined"]) == wanted
    assert 0 < np.mean(scores >= middle) < 1
    assert np.mean(scores >= chosen["extent"]) == pytest.approx(np.mean(scores >= middle), abs=1e-3)
    assert f"3 of 9 normal frames raise an alarm, as with {like} at its own threshold (3)" in capsys.readouterr().out


def test_normal_frames_show_as_many_unknown_instances_as_with_the_bundle_it_shall_be_like(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames show none to four things, so that frames with an alarm are fewer than instances."""
    rng = np.random.default_rng(5)
    images = [road() for _ in range(9)]
    for number, image in enumerate(images):
        for thing in range(number % 5):
            image[60:80, 8 + 28 * thing : 24 + 28 * thing] += rng.integers(40, 90, 3).astype(np.uint8)
    options = written(tmp_path / "normal", images)
    scores = np.sort(np.concatenate([Perception.load(bundle).infer(Frame(image)).refined.ravel() for image in images]))
    extent, seed = (float(scores[int(share * len(scores))]) for share in (0.93, 0.97))
    like = bundle_with(tmp_path / "like", refined=seed, extent=extent, min_area=1e-4)
    (bundle / "manifest.json").write_text((like / "manifest.json").read_text())
    wanted = sum(len(Perception.load(like).infer(Frame(image)).instances) for image in images)
    assert wanted > 9
    assert main(["calibrate", "--model", str(bundle), *options, "--like", str(like)]) == 0
    found = sum(len(Perception.load(bundle).infer(Frame(image)).instances) for image in images)
    assert found == wanted
    assert f"{wanted} unknown instances in 9 normal frames, {wanted} with" in capsys.readouterr().out
