"""The tutorials' commands run one after the other as they are printed, with a small model and a few frames.

Blocks and lines that need what is not here (a camera, a GPU, data of one's own) are marked in the pages and left out.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from m2a_ros.main import main
from test.packaging.conftest import ROOT
from test.tiny_bundle import write_tiny_bundle

TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = ("first_run.md", "your_bag.md", "calibrate.md", "replay_and_compare.md")
LEFT_OUT = re.compile(r"^(sudo|make|pip|ros2|cp|mkdir)\b|needs |--mode realtime|--bag before$|m2a (doctor|benchmark)")
"""Others have tests of their own; a window of a viewer opens on no machine of tests."""


def commands(page: str) -> list[list[str]]:
    """The `m2a` calls of a page's shell blocks."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", (TUTORIALS / page).read_text(encoding="utf-8"), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            without_comment = line.partition(" #")[0].strip()
            if without_comment and not LEFT_OUT.search(without_comment) and not LEFT_OUT.search(line):
                words = shlex.split(without_comment)
                assert words[0] == "m2a", line
                found.append(words[1:])
    return found


@pytest.mark.slow
def test_the_pages_run_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder of that name comes before the model that ships.
    write_tiny_bundle(tmp_path / "m2a-edge", name="m2a-edge")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    demo = ROOT / "config" / "demo"
    for target, source in (("labelled", "frames"), ("labels", "truth")):
        (tmp_path / target).mkdir()
        for file in sorted((demo / source).glob("00[0-1].*")):
            shutil.copy(file, tmp_path / target)
    for page in PAGES:
        for words in commands(page):
            few = ["--frames", "2"] if words[:2] == ["bag", "make"] else []
            if page == "replay_and_compare.md" and words[0] == "replay" and words[1] != "compare":
                shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
            if words[:2] == ["view", "--bag"] and not _has_rerun():
                continue
            assert main([*words, *few]) == 0, f"{page}: m2a {' '.join(words)}"
    for result in ("results/004_overlay.jpg", "before/report.html", "mine/manifest.json", "comparison/comparison.html"):
        assert (tmp_path / result).is_file()


def _has_rerun() -> bool:
    from importlib.util import find_spec

    return find_spec("rerun") is not None
