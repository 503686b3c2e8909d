"""Every command and action explains itself, and shells complete them."""

from __future__ import annotations

import subprocess

import pytest

from docs.site.command_help import every_parser
from m2a_core.cli.main import main
from m2a_ros.main import COMMANDS

EVERY = {parser.prog: parser for parser in every_parser(COMMANDS)}


@pytest.mark.parametrize("name", EVERY)
def test_help_describes_the_command_shows_an_example_and_explains_every_option(name):
    parser = EVERY[name]
    assert parser.description
    assert any(line.strip().startswith(name) for line in parser.description.splitlines())
    silent = [a.dest for a in parser._actions if not a.help]  # noqa: SLF001
    assert [dest for dest in silent if dest not in ("action", "command")] == []


def test_an_action_of_a_command_has_its_own_help(capsys):
    from m2a_ros.main import main as everything

    with pytest.raises(SystemExit):
        everything(["replay", "compare", "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: m2a replay compare")
    assert "--params-file" not in shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_know_commands_and_options(shell, capsys):
    assert main(["completion", shell], COMMANDS) == 0
    script = capsys.readouterr().out
    assert "evaluate" in script
    assert "--params-file" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_an_option_that_was_renamed_works_with_a_warning_and_is_not_shown(capsys):
    parser = EVERY["m2a replay"]
    args = parser.parse_args(["drive.mcap", "--out", "out", "--engine", "ray"])
    assert args.executor == "ray"
    assert (
        "'--engine' is deprecated and will be removed in a later version; use '--executor'" in capsys.readouterr().err
    )
    assert "--engine" not in parser.format_help()
