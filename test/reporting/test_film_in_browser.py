"""A film in a page plays in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from m2a_core.reporting.film import Film
from m2a_core.reporting.page import film, poster

api = pytest.importorskip("playwright.sync_api", reason="needs m2a's extra [browser]")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def test_a_film_plays_inside_a_page(tmp_path: Path) -> None:
    made = Film(tmp_path / "drive.webm", 10.0)
    for level in range(0, 250, 25):
        made.add(np.full((48, 64, 3), level, np.uint8))
    made.finish()
    page_file = tmp_path / "page.html"
    page_file.write_text(f'<video muted src="{film(made.path)}" poster="{poster(made.path)}"></video>')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())
        played = page.evaluate(
            """async () => {
                const video = document.querySelector('video');
                await video.play();
                await new Promise(done => video.onended = done);
                return [video.error, video.videoWidth, video.videoHeight, video.currentTime];
            }"""
        )
        browser.close()
    assert played[:3] == [None, 64, 48]
    assert played[3] == pytest.approx(1.0, abs=0.2)
