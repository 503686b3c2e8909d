"""The parity gate on a device: the engine's results against those that were kept beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from m2a_core.errors import EngineError
from m2a_core.metrics.parity import TOLERANCES, compare
from m2a_core.trt.engine import TensorRtEngine
from m2a_core.trt.engine_manifest import VERIFIED, EngineManifest, load_checked, manifest_path, reference_path
from m2a_core.trt.reference import load_reference


def verify_on_device(engine: Path, plugin: Path, device: int) -> EngineManifest:
    """Run an engine on its reference frames; where it is within tolerance its manifest says so from then on.

    Args:
        engine: the engine's file.
        plugin: the plugin's library.
        device: index of the GPU.

    Raises:
        EngineError: the engine does not load, or is out of tolerance: its manifest stays as it was.
    """
    loaded = TensorRtEngine(engine, plugin, device)
    try:
        return verify_loaded(loaded)
    finally:
        loaded.close()


def verify_loaded(engine: TensorRtEngine) -> EngineManifest:
    """`verify_on_device` for an engine that is loaded already."""
    manifest = load_checked(engine.path)
    images, reference = load_reference(reference_path(engine.path))
    parity = compare([engine.infer(image[None])[0] for image in images], reference)
    precision = manifest.key.precision
    violations = parity.violations(TOLERANCES["mixed" if precision == "fp16" else precision])
    if violations:
        raise EngineError(
            f"{engine.path}: its results on this device are out of tolerance ({'; '.join(violations)}) on "
            f"{parity.frames} reference frames; it is not used. Build it anew, or with --precision fp32"
        )
    verified = replace(manifest, parity=parity, verification=VERIFIED)
    verified.save(manifest_path(engine.path))
    return verified
