"""Pages: escaped, in one file, figures and counts in words."""

from __future__ import annotations

import pytest

from m2a_core.labels.builtin import CAMVID11
from m2a_core.reporting.page import count, number, overlay_legend, percent, render


def test_a_count_agrees_with_its_noun() -> None:
    assert [count(n, "frame") for n in (0, 1, 2, 1000)] == ["0 frames", "1 frame", "2 frames", "1,000 frames"]
    assert count(3, "stretch", "stretches") == "3 stretches"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_is_undefined_is_a_dash(value: float | None) -> None:
    assert percent(value) == number(value) == "–"
    assert (percent(0.125, 2), number(0.5, 1)) == ("12.50 %", "0.5")


def test_names_out_of_files_cannot_become_markup() -> None:
    found = {
        "a": "<script>alert(1)</script>",
        "b": "b",
        "answer": "<b>",
        "frames": {"paired": 1},
        "blocks": 1,
        "block_s": 1.0,
        "draws": 1,
    }
    empty = dict.fromkeys(("thresholds", "left_out", "metrics", "named", "stretches", "largest"), ())
    page = render("m2a_ros.review", "compare.html", found=found, kind="", chart="", binning="", **empty)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "1 frame paired" in page
    assert "1 block of 1 s" in page


def test_the_legend_names_every_class_the_unknown_and_the_outlines() -> None:
    entries = overlay_legend(CAMVID11, truth=True)
    texts = [text for _, _, text in entries]
    assert set(CAMVID11.names) | {"unknown area"} <= set(texts)
    assert sum("outline" in text for text in texts) == 2
    assert entries[0] == ("fill", "rgb(255, 64, 0)", "unknown area")
