"""Print the completion script of a shell, for all commands and options. Needs the package shtab.

For example:
  mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc
  m2a completion bash > ~/.local/share/bash-completion/completions/m2a
  m2a completion zsh > ~/.zfunc/_m2a                     # with ~/.zfunc in fpath, before compinit
  m2a completion tcsh > ~/.m2a.completion.tcsh
"""

from __future__ import annotations

import argparse

HELP = "print the completion script of a shell"

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    parser = args.all_commands()
    print(shtab.complete(parser, shell=args.shell))
    return 0
