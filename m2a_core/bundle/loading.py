"""Finding a model bundle by name or path, and checking it before anything of it is loaded.

A bundle is a directory with ``manifest.json``, the ONNX graph, the weights and a model card.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from m2a_core.bundle.graph_check import MAX_GRAPH_BYTES, require_whole
from m2a_core.bundle.manifest import FILE_NAME, Manifest
from m2a_core.bundle.signing import ANYBODY, Trust, require_signed
from m2a_core.errors import ConfigError, ModelError, quoted
from m2a_core.files import read_regular

DEFAULT_MODEL = "m2a-edge"
_LONGEST_NAME = 400


@dataclass(frozen=True)
class ModelBundle:
    """A checked bundle on disk.

    Attributes:
        manifest: its description.
        directory: where it lies.
        onnx_path: the graph, whose SHA-256 was found to be the manifest's.
        signed: SHA-256 by name of the files that a trusted key signed; None where no signature was asked for.
    """

    manifest: Manifest
    directory: Path
    onnx_path: Path
    signed: dict[str, str] | None = None

    def read_graph(self) -> bytes:
        """The graph's bytes, checked: what is loaded is what was hashed, also where the file changes meanwhile.

        Raises:
            ModelError: the file is missing, no regular file, has another hash, or is none to run; see `require_whole`.
        """
        try:
            graph = read_regular(self.onnx_path, MAX_GRAPH_BYTES)
        except OSError as error:
            raise ModelError(
                f"{self.onnx_path}: the manifest names this graph but there is no such file, or it cannot be read "
                f"({error.strerror}); export it again"
            ) from error
        digest = hashlib.sha256(graph).hexdigest()
        if digest != self.manifest.onnx_sha256:
            raise ModelError(
                f"{self.onnx_path}: SHA-256 is {digest}, the manifest says {self.manifest.onnx_sha256}; the file is "
                "damaged or not the one that was exported: restore it or export the bundle again"
            )
        require_whole(graph, self.onnx_path)
        return graph


def engine_directories() -> tuple[Path, ...]:
    """Where bundles are looked up by name."""
    return _shipped("engines")


def shipped_frames() -> Path:
    """Directory of the demo's road images: real frames for checks that need some and were given none.

    Raises:
        ConfigError: they are not installed.
    """
    places = _shipped("config/demo/frames")
    for place in places:
        if place.is_dir():
            return place
    raise ConfigError(f"no images in {', '.join(map(str, places))}, where m2a's own should be; name some with --frames")


def _shipped(relative: str) -> tuple[Path, ...]:
    """Where a tree that ships may lie: beside the package in a checkout, then under the installation's share."""
    package = Path(__file__).resolve().parents[1]
    shared = Path("share", "m2a_ros", relative)
    # site-packages lies 3 levels below the prefix for both pip (lib/python3.x/site-packages) and colcon.
    prefixes = [Path(sys.prefix), *package.parents[:5]]
    return (package.parent / relative, *dict.fromkeys(prefix / shared for prefix in prefixes))


def load_bundle(name_or_path: str | Path = DEFAULT_MODEL, trust: Trust = ANYBODY) -> ModelBundle:
    """Find a bundle, read its manifest and verify its digest, its graph's SHA-256 and, where asked for, its signature.

    Args:
        name_or_path: a name such as ``m2a-edge``, a bundle's directory, or an ``.onnx`` file beside a manifest.
        trust: whose bundles are loaded.

    Raises:
        ConfigError: a signature is required but no key is trusted, or a key cannot be read.
        ModelError: nothing is there, the manifest does not fit, the graph is missing or has another hash, or the
            bundle is not signed as it must be.
    """
    named = quoted(str(name_or_path), _LONGEST_NAME)
    try:
        directory, asked_file = _locate(Path(name_or_path), named)
    except OSError as error:
        raise ModelError(f"model {named}: cannot be looked up ({error.strerror}); name a bundle's directory") from error
    manifest_path, signed = directory / FILE_NAME, trust.signed_files(directory)

    def check(content: bytes) -> None:
        if signed is not None:
            require_signed(manifest_path, hashlib.sha256(content).hexdigest(), signed)

    manifest = Manifest.load(manifest_path, check)
    if Path(manifest.onnx_file).name != manifest.onnx_file or not manifest.onnx_file or "\0" in manifest.onnx_file:
        raise ModelError(
            f"{directory / FILE_NAME}: onnx.file is {quoted(manifest.onnx_file)}, expected a plain file name"
        )
    onnx_path = directory / manifest.onnx_file
    if asked_file not in (None, manifest.onnx_file):
        raise ModelError(
            f"{directory / str(asked_file)}: the manifest beside it describes '{manifest.onnx_file}'; "
            "name the bundle's directory, or export this graph into one of its own"
        )
    bundle = ModelBundle(manifest, directory, onnx_path, signed)
    bundle.read_graph()
    return bundle


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_file(path: Path) -> Path:
    """Where the SHA-256 of a weight file lies, as ``sha256sum`` writes it."""
    return path.with_name(path.name + ".sha256")


def _locate(path: Path, named: str) -> tuple[Path, str | None]:
    """Directory of the bundle and, where a file was named, its file name."""
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ModelError(f"{named}: no such ONNX file")
        return path.parent, path.name
    if path.is_dir() and (path / FILE_NAME).is_file():
        return path, None
    places = engine_directories()
    is_name = len(path.parts) == 1 and path.parts[0] not in (".", "..")
    if is_name:
        for place in places:
            if (place / path / FILE_NAME).is_file():
                return place / path, None
    known = sorted({entry.parent.name for place in places for entry in place.glob(f"*/{FILE_NAME}")})
    where = ", ".join(str(place) for place in places if place.is_dir()) or "no engine directory on this machine"
    raise ModelError(
        f"model {named}: neither a directory with {FILE_NAME} nor a bundle in {where}; "
        f"known bundles: {', '.join(known) or 'none'}"
    )
