"""Model bundles: whole, with the hashes that their manifests state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from m2a_core.bundle.loading import engine_directories, load_bundle
from m2a_core.bundle.manifest import FILE_NAME
from m2a_core.doctor.findings import Finding, Level
from m2a_core.errors import M2aError


def check_models(names: Iterable[str] = ()) -> Iterator[Finding]:
    """Load and hash bundles.

    Args:
        names: names or paths; none = every bundle that ships.
    """
    bundles = list(names) or [str(path) for path in shipped_bundles()]
    if not bundles:
        yield Finding("model", Level.ERROR, "no bundle is installed", "install m2a again, or write one with m2a export")
    for name in bundles:
        try:
            bundle = load_bundle(name)
        except M2aError as error:
            yield Finding(
                f"model {Path(name).name}", Level.ERROR, str(error), "restore the file (git checkout -- engines)"
            )
            continue
        manifest = bundle.manifest
        height, width = manifest.graph_size
        yield Finding(
            f"model {manifest.name}",
            Level.OK,
            f"{manifest.labels.num_classes} classes, input {height}x{width}, hash {manifest.onnx_sha256[:12]} matches",
        )


def shipped_bundles() -> list[Path]:
    """Folders with a manifest where bundles are looked up by name."""
    folders = [folder for folder in engine_directories() if folder.is_dir()]
    return sorted({path.parent for folder in folders[:1] for path in folder.glob(f"*/{FILE_NAME}")})
