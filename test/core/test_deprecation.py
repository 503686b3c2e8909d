"""Old names of public things work and say what they are called now."""

from __future__ import annotations

import argparse

import pytest

from m2a_core import errors
from m2a_core.deprecation import add_old_option


def test_an_old_error_class_is_the_new_one_and_warns():
    with pytest.warns(FutureWarning, match=r"'m2a_core\.errors\.EngineError' is deprecated.*use 'ModelError'"):
        assert errors.EngineError is errors.ModelError


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'m2a_core.errors' has no attribute 'EngineErrors'"):
        _ = errors.EngineErrors


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_old_option(made, "--speed", made.add_argument("--rate", type=float, choices=(0.5, 1.0, 2.0), default=1.0))
    add_old_option(made, "--input", made.add_argument("--frames", nargs="+", action="extend", default=[]))
    return made


@pytest.mark.parametrize("given", [[], ["--speed", "2"], ["--rate", "0.5", "--speed", "2"]])
def test_an_old_option_sets_the_new_one(given):
    args = parser().parse_args(given)
    assert vars(args) == {"rate": 2.0 if given else 1.0, "frames": []}


def test_old_and_new_option_add_up_where_the_new_one_does(capsys):
    args = parser().parse_args(["--frames", "a", "--input", "b", "c"])
    assert args.frames == ["a", "b", "c"]
    assert "warning: option '--input' is deprecated" in capsys.readouterr().err


def test_an_old_option_warns_and_the_new_one_does_not(capsys):
    parser().parse_args(["--rate", "2"])
    assert capsys.readouterr().err == ""
    parser().parse_args(["--speed", "2"])
    assert "'--speed' is deprecated and will be removed in a later version; use '--rate'" in capsys.readouterr().err


def test_an_old_option_is_checked_as_the_new_one_and_not_shown_in_help(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--speed", "3"])
    assert "invalid choice: 3.0" in capsys.readouterr().err
    assert "--speed" not in parser().format_help()
