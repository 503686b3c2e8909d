from __future__ import annotations

import os
import re
import subprocess
import sys
from types import ModuleType

import pytest

from m2a_core.cli.main import COMMANDS, main
from m2a_core.errors import DataError, NoGpuError, OtherEngineError, ToleranceError


def command(monkeypatch, run) -> dict[str, str]:
    """A command table with one command that does ``run``."""
    module = ModuleType("a_command")
    module.HELP = "does something"  # type: ignore[attr-defined]
    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_command", module)
    return {"act": "a_command"}


def test_overview_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: m2a {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["predict", "export"])
def test_help_shows_an_example(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert f"\nexample:\n  m2a {name} " in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["fly"], ["predict"]], ids=["nothing", "unknown command", "no image"])
def test_wrong_call_ends_with_code_2_and_the_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: m2a" in capsys.readouterr().err


@pytest.mark.parametrize("flush", [True, False])
def test_an_output_that_nobody_reads_ends_without_a_traceback(flush):
    code = (
        "import sys, types; from m2a_core.cli.main import main; module = types.ModuleType('act'); module.HELP = ''\n"
        "module.add_arguments = lambda parser: None\n"
        f"module.run = lambda args: [print('line' * 9, flush={flush}) for _ in range(10_000)] and 0\n"
        "sys.modules['act'] = module; sys.exit(main(['act'], {'act': 'act'}))"
    )
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    os.close(read)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (141, "")


def test_another_pipe_that_breaks_is_no_silent_end(monkeypatch, tmp_path):
    def run(args):
        raise BrokenPipeError("a worker's")

    output = (tmp_path / "output").open("w")
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(BrokenPipeError, match="worker"):
        main(["act"], command(monkeypatch, run))


def test_own_error_becomes_one_line_and_code_2(monkeypatch, capsys):
    def run(args):
        raise DataError("street.png: is not an image")

    assert main(["act"], command(monkeypatch, run)) == 2
    assert capsys.readouterr().err == "m2a: error: street.png: is not an image\n"


@pytest.mark.parametrize(("error", "code"), [(NoGpuError, 3), (OtherEngineError, 4), (ToleranceError, 5)])
def test_errors_that_a_supervisor_treats_apart_have_codes_of_their_own(monkeypatch, error, code):
    def run(args):
        raise error("no")

    assert main(["act"], command(monkeypatch, run)) == code


def test_missing_package_is_named_with_the_way_to_get_it(monkeypatch, capsys):
    def run(args):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    assert main(["act"], command(monkeypatch, run)) == 2
    told = capsys.readouterr().err
    assert re.search("'act' needs the Python package 'torch': (.* -m )?pip install", told)
    assert "[train]'" in told


def test_own_missing_module_is_no_user_s_error(monkeypatch):
    def run(args):
        raise ModuleNotFoundError("No module named 'm2a_core.nothing'", name="m2a_core.nothing")

    with pytest.raises(ModuleNotFoundError):
        main(["act"], command(monkeypatch, run))


def test_interruption_ends_with_code_130(monkeypatch, capsys):
    def run(args):
        raise KeyboardInterrupt

    assert main(["act"], command(monkeypatch, run)) == 130
    assert "interrupted" in capsys.readouterr().err


def test_exit_code_of_the_command_is_passed_on(monkeypatch):
    assert main(["act"], command(monkeypatch, lambda args: 7)) == 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/data/frame.png"), "/data/frame.png: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory (Unable to allocate 9 GiB)"),
    ],
)
def test_what_the_system_refuses_is_named_without_a_traceback(error, said, monkeypatch, capsys):
    def refused(args):
        raise error

    assert main(["act"], command(monkeypatch, refused)) == 2
    assert capsys.readouterr().err == f"m2a: error: {said}\n"
