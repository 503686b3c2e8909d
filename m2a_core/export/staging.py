"""Bundles that appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2a_core.bundle.manifest import FILE_NAME
from m2a_core.bundle.signing import remove_signature
from m2a_core.errors import ExportError


@contextmanager
def staged_bundle(out: Path, *files: str) -> Iterator[Path]:
    """A folder beside a bundle's, whose files become the bundle's when the block ends well.

    Args:
        out: the bundle's directory; what else it holds stays, but for a signature, which no longer holds.
        files: names of the files beside the manifest.

    Raises:
        ExportError: something cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.resolve().name}.") as temporary:
            staged = Path(temporary)
            yield staged
            out.mkdir(exist_ok=True)
            remove_signature(out)
            # The manifest comes last: until then the old one's hash refuses the new graph.
            for file in (*files, FILE_NAME):
                (staged / file).replace(out / file)
    except OSError as error:
        raise ExportError(f"{out}: cannot write the bundle ({error})") from error
