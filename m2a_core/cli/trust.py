"""Options that say whose model bundles are loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.bundle.signing import Trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--require-signature", action="store_true", help="refuse a bundle that is not signed by a --trusted-key"
    )
    parser.add_argument(
        "--trusted-key",
        type=Path,
        action="append",
        default=[],
        metavar="PEM",
        help="public key of `m2a bundle keygen`; a bundle's signature must be by one of them",
    )


def asked_for(args: argparse.Namespace) -> Trust:
    """What the options say."""
    return Trust(args.require_signature, tuple(args.trusted_key))
