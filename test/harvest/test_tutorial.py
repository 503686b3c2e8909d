"""Commands of docs/harvest.md are commands of m2a."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from m2a_core.cli.main import command_parser
from m2a_ros.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "harvest.md"
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    for line in block.splitlines()
    if line.startswith("m2a ")
]


@pytest.mark.parametrize("line", LINES)
def test_command_of_the_tutorial_is_understood(line):
    words = shlex.split(line, comments=True)[1:]
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
    command_parser(COMMANDS, name).parse_args([name, *words[name.count(" ") + 1 :]])


def test_tutorial_harvests_and_serves():
    assert sum(line.startswith("m2a harvest") for line in LINES) >= 3
