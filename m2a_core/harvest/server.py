"""The gallery over HTTP on this machine: one page, and one file that it may write."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import replaced
from m2a_core.harvest.choices import CHOICES, read_choices
from m2a_core.harvest.folder import GALLERY, Harvest

HOST = "127.0.0.1"
_MAX_BYTES = 1 << 26
_IDLE_S = 30.0
_PAGES = {"/": (GALLERY, "text/html; charset=utf-8"), f"/{CHOICES}": (CHOICES, "application/json")}


def gallery_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server for a harvest's gallery, on ``HOST`` alone.

    Args:
        folder: the harvest's.
        port: 0 for any that is free.

    Raises:
        DataError: the folder holds no finished harvest.
        ConfigError: the port cannot be used.
    """
    harvest = Harvest.open(folder)

    class Handler(_Handler):
        pass

    Handler.harvest, Handler.saving = harvest, threading.Lock()
    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port {port}: cannot be used ({error}); give another, or 0 for any") from error


class _Handler(BaseHTTPRequestHandler):
    """Gives the two files of ``_PAGES`` and takes one; no path of a request ever becomes a path on the disk."""

    harvest: Harvest
    saving: threading.Lock
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Send the page or the choices."""
        name, kind = _PAGES.get(self.path, ("", ""))
        file = self.harvest.folder / name
        # A harvest from elsewhere may hold a link to any file of this machine.
        if not self._is_ours() or not name or not file.is_file() or file.is_symlink():
            self._answer(HTTPStatus.NOT_FOUND, b"not here", "text/plain")
            return
        self._answer(HTTPStatus.OK, file.read_bytes(), kind)

    def do_PUT(self) -> None:
        """Check choices and keep them; what was there stays where they cannot be used."""
        length = self.headers.get("Content-Length", "")
        json = self.headers.get("Content-Type", "").partition(";")[0] == "application/json"
        if not self._is_ours() or self.path != f"/{CHOICES}" or not json:
            self._answer(HTTPStatus.FORBIDDEN, b"only the gallery may save choices here", "text/plain")
            return
        # Other characters are digits to Python, too, but not to ``int``.
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else _MAX_BYTES + 1
        if size > _MAX_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large", "text/plain")
            return
        error = self._keep(self.rfile.read(size))
        if error:
            self._answer(HTTPStatus.BAD_REQUEST, error.encode(), "text/plain; charset=utf-8")
        else:
            self._answer(HTTPStatus.NO_CONTENT, b"", "text/plain")

    def _keep(self, content: bytes) -> str:
        """Write choices; what is wrong with them, or an empty string."""
        try:
            with self.saving, replaced(self.harvest.folder / CHOICES) as offered:
                offered.write_bytes(content)
                read_choices(offered, self.harvest)
        except (DataError, OSError, ValueError) as error:
            return str(error)
        return ""

    def log_message(self, *_: object) -> None:
        """Keep requests off the terminal."""

    def _is_ours(self) -> bool:
        """Whether the request is for this machine by its own name: a page elsewhere may make a browser ask others."""
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        mine = {f"{host}:{port}" for host in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in mine and (origin is None or origin.removeprefix("http://") in mine)

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        # A page elsewhere may else show the gallery in a frame, and have somebody click in it.
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(content)
