"""Console script ``m2a_node``: the node in a process of its own."""

from __future__ import annotations

import sys


def _end_quietly(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Ctrl-C during the imports below ends in no traceback; `end_at_once` cannot be there yet."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]


sys.excepthook = _end_quietly

from m2a_core.errors import ConfigError  # noqa: E402
from m2a_ros.process.address_space import require_address_space  # noqa: E402
from m2a_ros.process.signals import end_at_once, end_in_time, interrupt_once, leave  # noqa: E402

USAGE = """usage: m2a_node [--ros-args ...]

Open-set perception node: reads camera images, publishes anomaly maps, open-set masks and markers of unknown objects.
Everything is set the ROS way; config/m2a.param.yaml documents the parameters. For example:
  m2a_node --ros-args --params-file config/m2a.param.yaml -r ~/input/front/image:=/camera/image_raw
"""


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line without the program's name; None for the process's own.

    Returns:
        Exit code: 2 for a wrong command line, a missing ROS or too little memory. A node that ran ends the process with
            0 after a requested end, 1 if that took longer than ``END_S``, 6 where only a new process can go on.
    """
    # An exception in the middle of an import ends in that library's words, or in its crash.
    end_at_once()
    end_in_time()
    try:
        return _main(sys.argv[1:] if args is None else args)
    except KeyboardInterrupt:
        return 0
    except MemoryError as error:
        print(f"m2a_node: error: not enough memory ({error or 'no details'})", file=sys.stderr)
        return 2


def _main(args: list[str]) -> int:
    try:
        require_address_space()
        from m2a_ros.node.process import command_line_rest, run
    except ConfigError as error:
        print(f"m2a_node: error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("m2a_"):
            raise
        from m2a_core.extras import install_command

        print(
            f"m2a_node: error: the Python package '{error.name}' is missing; source a ROS 2 installation "
            f"(. /opt/ros/<distribution>/setup.sh) or, in a virtual environment, {install_command('ros')}",
            file=sys.stderr,
        )
        return 2
    interrupt_once()
    argv = [sys.argv[0], *args]
    try:
        rest = command_line_rest(argv)
    except ConfigError as error:
        print(f"m2a_node: error: {error}", file=sys.stderr)
        return 2
    if rest and rest[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if rest:
        print(f"m2a_node: unknown argument {rest[0]}\n\n{USAGE}", file=sys.stderr)
        return 2
    leave(run(argv))


if __name__ == "__main__":
    sys.exit(main())
