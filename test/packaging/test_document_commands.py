"""Commands in the documents are ones that there are, with options that there are."""

from __future__ import annotations

import contextlib
import io
import re
import shlex

import pytest

from m2a_core.cli.main import command_parser
from m2a_ros.main import COMMANDS
from test.packaging.conftest import ROOT
from test.packaging.test_documents import PAGES

_BLOCK = re.compile(r"```(?:bash|sh|console)\n(.*?)```", re.S)
_ENDS = {"&&", "||", "|", ";", ">", "2>", ">>", "&"}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def commands() -> list[tuple[str, list[str]]]:
    """Page and words of every `m2a` and `make` in a code block."""
    found = []
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                try:
                    words = shlex.split(line, comments=True)
                except ValueError:
                    continue
                while words:
                    end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
                    part, words = words[:end], words[end + 1 :]
                    if part and part[0].rpartition("/")[2] in ("m2a", "make"):
                        found.append((str(page.relative_to(ROOT)), [part[0].rpartition("/")[2], *part[1:]]))
    return found


@pytest.mark.parametrize(("page", "words"), commands())
def test_a_command_of_a_page_can_be_called(page: str, words: list[str]):
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        assert set(targets) <= TARGETS
        return
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
