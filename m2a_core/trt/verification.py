"""The parity gate on a device: the engine's results against those that were kept beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ModelError, ToleranceError
from m2a_core.metrics.parity import TOLERANCES, camera_violations, compare, worst_of
from m2a_core.trt.engine import TensorRtEngine
from m2a_core.trt.engine_manifest import VERIFIED, EngineManifest, manifest_path, reference_path
from m2a_core.trt.reference import load_reference


def verify_on_device(engine: Path, plugin: Path, device: int) -> EngineManifest:
    """Run an engine on its reference frames; where it is within tolerance its manifest says so from then on.

    Args:
        engine: the engine's file.
        plugin: the plugin's library.
        device: index of the GPU.

    Raises:
        ModelError: the engine does not load.
        ToleranceError: a batch size is out of tolerance; the manifest stays as it was.
    """
    loaded = TensorRtEngine(engine, plugin, device)
    try:
        verified = compare_loaded(loaded)
    finally:
        loaded.close()
    keep_verified(engine, verified)
    return verified


def keep_verified(engine: Path, verified: EngineManifest) -> None:
    """Write down that an engine was verified.

    Raises:
        ModelError: its manifest cannot be written, or is by now that of another engine, which nobody has run.
    """
    path = manifest_path(engine)
    if EngineManifest.load(path).engine_sha256 != verified.engine_sha256:
        raise ModelError(f"{path}: describes another engine than the one that was verified; load it again")
    verified.save(path)


def compare_loaded(engine: TensorRtEngine) -> EngineManifest:
    """The manifest of an engine that is loaded, verified; nothing is written.

    Raises:
        ModelError: its reference frames are not those that its manifest names.
        ToleranceError: a batch size is out of tolerance.
    """
    manifest = engine.manifest
    images, reference = load_reference(reference_path(engine.path), manifest.reference_sha256)
    precision = manifest.key.precision
    tolerance = TOLERANCES["mixed" if precision == "fp16" else precision]
    parities = []
    for batch in manifest.key.batches:
        got, wanted = _answers(engine, images, reference, batch)
        parity = compare(got, wanted)
        violations = parity.violations(tolerance) + camera_violations(got, wanted)
        if violations:
            raise ToleranceError(
                f"{engine.path}: its results on this device are out of tolerance for batches of {batch} "
                f"({'; '.join(violations)}) on {len(images)} reference frames; it is not used. Build it again, or with "
                "--precision fp32"
            )
        parities.append(parity)
    return replace(
        manifest,
        parity=worst_of(parities),
        verification=VERIFIED,
        verified_batches=manifest.key.batches,
        device_memory=engine.scratch_bytes,
    )


def _answers(
    engine: TensorRtEngine, images: np.ndarray, reference: Sequence[NetworkOutput], batch: int
) -> tuple[list[NetworkOutput], list[NetworkOutput]]:
    """What the engine says of the reference frames, and what it should say.

    Every frame in every place of a batch, then places drawn at random, so that no two always hold the same frame.
    """
    count = len(images)
    choices: list[np.ndarray] = [(first + np.arange(batch)) % count for first in range(count)]
    if batch > 1:
        choices += list(np.random.default_rng(0).integers(count, size=(count, batch)))
    got: list[NetworkOutput] = []
    wanted: list[NetworkOutput] = []
    for chosen in choices:
        got += engine.infer(images[chosen])
        wanted += [reference[i] for i in chosen.tolist()]
    return got, wanted
