"""Export, verify, and only then put a bundle in place: all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from m2a_core import __version__
from m2a_core.bundle.loading import hash_file, load_bundle, sha256_of
from m2a_core.bundle.manifest import FILE_NAME, Manifest
from m2a_core.bundle.signing import remove_signature
from m2a_core.errors import ExportError
from m2a_core.export.network import ExportedNetwork
from m2a_core.export.notes import BundleNotes
from m2a_core.export.onnx_export import PLAIN, ExportOptions, build_onnx
from m2a_core.export.place import require_place
from m2a_core.export.verify import Agreement, verify, verify_batches, verify_precision
from m2a_core.metrics.parity import Parity
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from m2a_core.runtime.onnx_runtime import OnnxRuntime


def export_bundle(
    network: ExportedNetwork,
    weights: Path,
    frames: Sequence[np.ndarray],
    out: Path,
    notes: BundleNotes,
    trained: dict[str, str],
    options: ExportOptions = PLAIN,
    say: Callable[[str], object] = lambda stage: None,
) -> list[Agreement] | Parity:
    """Write the bundle of a network.

    The graph is written beside ``out``, loaded the way a vehicle loads it, compared with PyTorch, and moved into place.
    Files of ``out`` that are not the bundle's stay.

    Args:
        network: what to export.
        weights: the safetensors file it was loaded from; copied into the bundle.
        frames: uint8 [H, W, 3] each, real images of any size.
        out: the bundle's directory; its last part is the bundle's name.
        notes: for the manifest.
        trained: metadata of the weights; run and step go into the graph's.
        options: precision and batch of the graph.
        say: told the name of each stage as it begins.

    Returns:
        How the graph agrees with PyTorch: output by output in single precision, else in the quantities that matter.

    Raises:
        ExportError: the graph cannot be made, disagrees with PyTorch, or cannot be written.
        ModelError: the graph does not load or does not keep its contract.
    """
    require_place(out)
    name = out.resolve().name
    weights_digest = sha256_of(weights)
    metadata = {
        "m2a.name": name,
        "m2a.model": network.model.config.name,
        "m2a.weights_sha256": weights_digest,
        "m2a.input_size": "x".join(map(str, network.input_size)),
        "m2a.num_queries": str(network.model.config.num_queries),
        "m2a.classes": ",".join(network.model.config.labels.names),
        "m2a.version": __version__,
        **{f"m2a.trained.{key}": trained[key] for key in ("run", "step") if key in trained},
    }
    say("tracing the network into ONNX")
    graph = build_onnx(network, metadata, options)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}.") as temporary:
            staged = Path(temporary)
            (staged / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
            manifest = _manifest(name, network, notes, sha256_of(staged / f"{name}.onnx"))
            (staged / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
            copy = staged / f"{name}.safetensors"
            shutil.copyfile(weights, copy)
            hash_file(copy).write_text(f"{weights_digest}  {copy.name}\n", encoding="utf-8")
            say(f"running the graph and PyTorch on {len(frames)} frames")
            report = _verify(OnnxRuntime(load_bundle(staged)), network, frames, options)
            out.mkdir(exist_ok=True)
            remove_signature(out)
            # The manifest comes last: until then the old one's hash refuses the new graph.
            for file in (copy.name, hash_file(copy).name, f"{name}.onnx", FILE_NAME):
                (staged / file).replace(out / file)
    except OSError as error:
        raise ExportError(f"{out}: cannot write the bundle ({error})") from error
    return report


def _verify(
    runtime: OnnxRuntime, network: ExportedNetwork, frames: Sequence[np.ndarray], options: ExportOptions
) -> list[Agreement] | Parity:
    report: list[Agreement] | Parity
    if options.precision == "fp32":
        report = verify(runtime, network, frames)
    else:
        report = verify_precision(runtime, network, frames, options.precision)
    if options.max_batch > 1:
        verify_batches(runtime, frames, options.max_batch)
    runtime.close()
    return report


def _manifest(name: str, network: ExportedNetwork, notes: BundleNotes, onnx_digest: str) -> Manifest:
    return Manifest(
        name=name,
        onnx_file=f"{name}.onnx",
        onnx_sha256=onnx_digest,
        input_size=network.input_size,
        num_queries=network.model.config.num_queries,
        labels=network.model.config.labels,
        thresholds=notes.thresholds,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        license=notes.license,
        decision=notes.decision,
        metrics=notes.metrics,
        created_with={"m2a": __version__, **{p: version(p) for p in ("torch", "onnx", "onnxscript", "onnxruntime")}},
    )
