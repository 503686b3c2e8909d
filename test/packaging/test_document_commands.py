"""Commands in the documents: each can be parsed, and each is executed by a test or says on its page what it needs.

Pages run from top to bottom as they are printed, in a folder that holds what they name: a small model in the place of
the one that ships, and bags, images and masks of a few frames. ``# needs X`` marks what cannot run here: at the end of
a line, or on a line of its own for all lines to the next blank one.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.cli.main import command_parser
from m2a_ros.main import COMMANDS, main
from test.packaging.conftest import ROOT
from test.packaging.test_documents import PAGES
from test.replay.bags import raw, scene, write_bag
from test.replay.test_truth import write_masks
from test.review.bags_with_truth import label
from test.tiny_bundle import write_tiny_bundle

_BLOCK = re.compile(r"```(?:bash|sh|console)\n(.*?)```", re.S)
_ENDS = {"&&", "||", "|", ";", ">", "2>", ">>", "&"}
_NEEDS = re.compile(r"# .*\bneeds\b")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
ELSEWHERE = {
    "doctor": "ros/test_doctor.py",
    "benchmark": "cli/test_benchmark.py",
    "health": "ros/test_health.py",
    "--mode realtime": "replay/test_measured_modes.py",
    "--help": "cli/test_help.py",
}
"""Commands that have a test of their own: they listen to ROS or measure for seconds."""
TOGETHER = [
    ["docs/tutorials/first_run.md", "docs/tutorials/your_bag.md", "docs/tutorials/calibrate.md",
     "docs/tutorials/replay_and_compare.md", "docs/tutorials/your_camera.md", "docs/views.md"],
    ["README.md"], ["docs/replay.md"], ["docs/evaluation.md"], ["docs/security.md"], ["docs/fleet.md"],
    ["docs/tutorials/fleet.md"], ["docs/own_data.md"],
]  # fmt: skip
"""Pages that run one after the other in one folder: later ones use what earlier ones made."""


def commands(page: Path) -> list[tuple[list[str], bool]]:
    """Words of every `m2a` and `make` in the page's code blocks, and whether it says that it needs something."""
    found = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        below = False
        for line in block.replace("\\\n", " ").splitlines():
            needs = _NEEDS.search(line) is not None
            below = needs if line.startswith("#") else below and line != ""
            words = shlex.split(line, comments=True)
            while words:
                end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
                part, words = words[:end], words[end + 1 :]
                if part and part[0].rpartition("/")[2] in ("m2a", "make"):
                    found.append(([part[0].rpartition("/")[2], *part[1:]], needs or below))
    return found


WITH_COMMANDS = {str(page.relative_to(ROOT)): found for page in PAGES if (found := commands(page))}


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_can_be_called(page: str) -> None:
    for words, _ in WITH_COMMANDS[page]:
        if words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(targets) <= TARGETS
            continue
        arguments = words[1:]
        chosen = next((name for n in (2, 1) if (name := " ".join(arguments[:n])) in COMMANDS), None)
        if chosen:
            arguments[: chosen.count(" ") + 1] = [chosen]
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                command_parser(COMMANDS, chosen).parse_args(arguments)
        except SystemExit as end:
            assert end.code == 0, f"{page}: {' '.join(words)}\n{said.getvalue()}"  # noqa: PT017


def launch_arguments(file: str) -> set[str]:
    """What a launch file declares, read without the launch packages."""
    tree = ast.parse((ROOT / "launch" / file).read_text(encoding="utf-8"))
    (declared,) = (node.value for node in tree.body if isinstance(node, ast.AnnAssign))
    assert isinstance(declared, ast.Dict)
    return {ast.literal_eval(key) for key in declared.keys if key is not None}


LAUNCHES = [
    (page, file, given)
    for page in PAGES
    for text in [page.read_text(encoding="utf-8").replace("\\\n", " ")]
    for file, given in re.findall(r"ros2 launch m2a_ros (\S+)(.*)", text)
]


@pytest.mark.parametrize(("page", "file", "given"), LAUNCHES, ids=lambda value: str(value)[-40:])
def test_launch_commands_give_arguments_that_exist(page: Path, file: str, given: str) -> None:
    # launch passes over an argument that no file declares, and the node would run with its defaults.
    known = launch_arguments("m2a.launch.py") | launch_arguments(file)
    assert set(re.findall(r"(\w+):=", given)) <= known, page


def to_run(page: str) -> list[list[str]]:
    """Arguments of the `m2a` calls of a page that run here."""
    calls = [words for words, marked in WITH_COMMANDS[page] if words[0] == "m2a" and not marked]
    return [words[1:] for words in calls if not any(known in " ".join(words[1:]) for known in ELSEWHERE)]


def test_every_command_runs_in_a_test_or_says_what_it_needs() -> None:
    run = {page for pages in TOGETHER for page in pages}
    assert {page for page in WITH_COMMANDS if to_run(page)} <= run
    assert all((ROOT / "test" / file).is_file() for file in ELSEWHERE.values())


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    # A folder of that name comes before the model that ships.
    for name in ("m2a-edge", "my_bundle", "engines/my-edge"):
        write_tiny_bundle(tmp_path / name, name=Path(name).name)
    (tmp_path / "config").symlink_to(ROOT / "config")
    demo = ROOT / "config" / "demo"
    for target, source in (("labelled", "frames"), ("labels", "truth")):
        (tmp_path / target).mkdir()
        for file in sorted((demo / source).glob("00[0-1].*")):
            shutil.copy(file, tmp_path / target)
    (tmp_path / "normal_frames").mkdir()
    for i in range(50):
        cv2.imwrite(f"normal_frames/{i:02}.png", scene(i)[..., ::-1])
    cv2.imwrite("photo.jpg", scene(0)[..., ::-1])
    film = cv2.VideoWriter("drive.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (128, 96))
    for i in range(3):
        film.write(np.ascontiguousarray(scene(4 * i)[..., ::-1]))
    film.release()
    masks = write_masks(tmp_path / "masks", range(3))
    (tmp_path / "recorded" / "drives").mkdir(parents=True)
    images = [raw(scene(4 * i), i, "/front/image_raw") for i in range(3)]
    truth = [label(mask, i, f"/{kind}/front") for i, mask in enumerate(masks) for kind in ("labels", "ids")]
    (tmp_path / "drives").mkdir()
    for name, messages in (
        ("drive.mcap", images),
        ("drive_0.mcap", images),
        ("drives/drive_1.mcap", images),
        ("labelled.mcap", sorted([*images, *truth], key=lambda m: m.time)),
    ):
        (bag,) = write_bag(tmp_path / "recorded" / name, messages).glob("*.mcap")
        shutil.copy(bag, tmp_path / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("pages", TOGETHER, ids=lambda pages: pages[0])
def test_the_pages_run_from_top_to_bottom(stage: Path, pages: list[str]) -> None:
    if pages == ["docs/evaluation.md"]:
        (stage / "scores").mkdir()
        for mask in (stage / "masks").iterdir():
            values = (cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) == 1).astype(np.float32)
            np.savez(stage / "scores" / f"{mask.stem}.npz", anomaly=values)
    for page in pages:
        for words in to_run(page):
            few = ["--frames", "2"] if words[:2] == ["bag", "make"] else []
            if page.endswith(("replay.md", "replay_and_compare.md")) and words[0] == "replay" and words[1] != "compare":
                shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
            if words[0] == "view" and find_spec("rerun") is None:
                continue
            known = [str(Path(word).expanduser()) if word.startswith("~") else word for word in words]
            assert main([*known, *few]) == 0, f"{page}: m2a {' '.join(words)}"
