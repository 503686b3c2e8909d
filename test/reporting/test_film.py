"""Films: read back as they were written, of one size, and such as a browser plays."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.reporting.film import WIDTH, Film, frame_rate
from m2a_core.reporting.legend import legend_strip
from m2a_core.reporting.page import film as embedded


def write(path: Path, pictures: list[np.ndarray], rate: float = 10.0) -> Path:
    film = Film(path, rate)
    for picture in pictures:
        film.add(picture)
    film.finish()
    return path


def read(path: Path) -> list[np.ndarray]:
    reader, frames = cv2.VideoCapture(str(path)), []
    while (got := reader.read())[0]:
        frames.append(got[1])
    return frames


def test_a_film_holds_the_pictures_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shades = (40, 120, 200, 90)
    path = write(tmp_path / "new" / "v.webm", [np.full((96, 128, 3), shade, np.uint8) for shade in shades])
    np.testing.assert_allclose([frame.mean() for frame in read(path)], shades, atol=4)
    assert [p.name for p in path.parent.iterdir()] == ["v.webm"]
    assert capfd.readouterr().err == ""


def test_wide_pictures_are_scaled_down_and_others_fitted_in(tmp_path: Path) -> None:
    wide, tall = np.full((500, 1000, 3), 200, np.uint8), np.full((100, 20, 3), 200, np.uint8)
    first, second = read(write(tmp_path / "v.webm", [wide, tall]))
    assert first.shape == second.shape == (WIDTH // 2, WIDTH, 3)
    assert second[:, : WIDTH // 12].mean() > 150
    assert second[:, WIDTH // 6 :].mean() < 10


def test_a_legend_below_every_picture_names_the_classes(tmp_path: Path) -> None:
    film = Film(tmp_path / "v.webm", 10.0, CAMVID11)
    for _ in range(2):
        film.add(np.zeros((96, 480, 3), np.uint8))
    film.finish()
    expected = legend_strip(CAMVID11, 480)[..., ::-1].astype(int)
    for frame in read(film.path):
        assert abs(frame[96:] - expected).mean() < 12


def test_without_a_picture_there_is_no_film_and_an_abandoned_one_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "v.webm", [])
    film = Film(tmp_path / "w.webm", 10)
    film.add(np.zeros((96, 128, 3), np.uint8))
    film.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".v.partial.webm").mkdir()
    with pytest.raises(DataError, match=r"v\.webm: OpenCV cannot write"):
        write(tmp_path / "v.webm", [np.zeros((96, 128, 3), np.uint8)])


@pytest.mark.parametrize(
    ("times", "rate"), [([0, 0.1, 0.2, 9.0], 10.0), ([0, 0, 0], 10.0), ([], 10.0), ([0, 100], 1.0)]
)
def test_the_rate_is_that_of_the_median_step_forward(times: list[float], rate: float) -> None:
    assert frame_rate(times) == pytest.approx(rate)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the Debian package chromium")
def test_a_browser_plays_it(tmp_path: Path) -> None:
    path = write(tmp_path / "v.webm", [np.full((96, 128, 3), shade, np.uint8) for shade in (40, 120, 200)])
    page = tmp_path / "page.html"
    page.write_text(
        f"<video muted src='{embedded(path)}'></video><p id=out></p><script>const v=document.querySelector('video');"
        "const say=()=>{document.title=document.getElementById('out').textContent=JSON.stringify({width:v.videoWidth,"
        "error:v.error&&v.error.message,ready:v.readyState})};v.onloadeddata=v.onerror=say</script>"
    )
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--virtual-time-budget=4000",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"file://{page}",
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    found = json.loads(dom.partition('id="out">')[2].partition("</p>")[0])
    assert (found["width"], found["error"]) == (128, None)
    assert found["ready"] >= 2
