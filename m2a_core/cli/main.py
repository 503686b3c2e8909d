"""`m2a COMMAND ...`: one table of commands, each imported only when it runs.

A command's module has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args) -> int`` (the exit code), and
imports what is heavy inside ``run``.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module

from m2a_core import __version__
from m2a_core.errors import M2aError
from m2a_core.extras import install_command, pip_install

COMMANDS: Mapping[str, str] = {
    "predict": "m2a_core.cli.predict",
    "train": "m2a_core.cli.train",
    "data": "m2a_core.cli.data",
    "evaluate": "m2a_core.cli.evaluate",
    "calibrate": "m2a_core.cli.calibrate",
    "export": "m2a_core.cli.export",
    "quantize": "m2a_core.cli.quantize",
    "bundle": "m2a_core.cli.bundle",
    "build-engine": "m2a_core.cli.build_engine",
    "convert": "m2a_core.cli.convert",
    "info": "m2a_core.cli.info",
    "benchmark": "m2a_core.cli.benchmark",
    "completion": "m2a_core.cli.completion",
}

_DESCRIPTION = """Open-set perception for vehicles: finds what the network was never trained on.

Start with:
  m2a doctor                               is everything installed and connected?
  m2a predict photo.jpg --out results      an image, a video or a camera
  m2a replay drive.mcap --out results      a ROS 2 bag, with a report
  m2a COMMAND --help                       one command, with an example"""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE, which shells report for a program whose reader has gone."""

_EXTRAS = {
    "accelerate": "train",
    "cryptography": "signing",
    "torch": "train",
    "onnx": "export",
    "onnx_ir": "trt",
    "onnxscript": "export",
    "safetensors": "train",
    "pycocotools": "train",
    "h5py": "evaluate",
    "rclpy": "ros",
    "rosbags": "replay",
    "ray": "fleet",
    "rerun": "view",
}
"""Package -> the extra that brings it, where the command itself names none in ``EXTRA``."""


def main(argv: Sequence[str] | None = None, commands: Mapping[str, str] = COMMANDS) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes those of the process.
        commands: command -> module.

    Returns:
        The exit code: the command's own, 2 for a bad input or call, another where the error has one (``M2aError``),
        130 when interrupted, 141 where the reader of the output went away (``| head``).
    """
    try:
        try:
            return _run(argv, commands)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return EXIT_BROKEN_PIPE


def _nobody_reads() -> bool:
    """Whether it is the output's pipe that is broken; what is still buffered then goes nowhere."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return True


def _run(argv: Sequence[str] | None, commands: Mapping[str, str]) -> int:
    args_list = list(sys.argv[1:] if argv is None else argv)
    chosen = next((name for n in (2, 1) if (name := " ".join(args_list[:n])) in commands), None)
    try:
        if chosen:
            args_list[: chosen.count(" ") + 1] = [chosen]
        args = command_parser(commands, chosen).parse_args(args_list)
        return int(args.run(args))
    except M2aError as error:
        print(f"m2a: error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "m2a_core", "m2a_ros"):
            raise
        extra = (getattr(import_module(commands[chosen]), "EXTRA", "") if chosen else "") or _EXTRAS.get(package)
        remedy = install_command(extra) if extra else f"{pip_install()} {package}"
        print(f"m2a: error: '{chosen}' needs the Python package '{package}': {remedy}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = error.filename2 or error.filename
        print(f"m2a: error: {f'{where}: ' if where else ''}{error.strerror or error}", file=sys.stderr)
    except MemoryError as error:
        print(f"m2a: error: not enough memory ({error or 'no details'})", file=sys.stderr)
    except KeyboardInterrupt:
        print("m2a: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_ERROR


def command_parser(commands: Mapping[str, str], chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of one command, or of all of them.

    Args:
        commands: command -> module.
        chosen: one of them; None = all.
    """
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="m2a", description=_DESCRIPTION, formatter_class=as_written)
    parser.add_argument("--version", action="version", version=f"m2a {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in [chosen] if chosen else commands:
        module = import_module(commands[name])
        command = subparsers.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=as_written)
        module.add_arguments(command)
        command.set_defaults(run=module.run, all_commands=partial(command_parser, commands))
    return parser
