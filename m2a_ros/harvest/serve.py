"""Show a harvest's gallery on this machine, so that its choices are saved in the harvest's folder.

The server listens on 127.0.0.1 only; nothing leaves the machine. The gallery also works without it: opened as a file,
it saves choices.json as a download.

For example:
  m2a harvest serve harvest
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "show a harvest's gallery on localhost and save its choices"
EXTRA = "harvest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a harvest")
    parser.add_argument("--port", type=int, default=8022, help="0 for any that is free (default: %(default)d)")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from m2a_core.harvest.server import gallery_server

    server = gallery_server(args.folder, args.port)
    print(f"gallery: http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0
