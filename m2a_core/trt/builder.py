"""Exported graph -> engine with manifest and reference: keyed, checked, and refused where it is out of tolerance."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from m2a_core.bundle.loading import sha256_of
from m2a_core.contract.io_spec import CAMERA_OUTPUTS, INPUT, OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.contract.plugin import OP_TYPE, PLUGIN_VERSION
from m2a_core.errors import ConfigError, ModelError, OtherEngineError, ToleranceError
from m2a_core.metrics.parity import TOLERANCES, Parity, Tolerance, camera_violations, compare
from m2a_core.preprocess import Letterbox
from m2a_core.trt.backend import TENSORRT, TENSORRT_RTX, Backend, load_backend
from m2a_core.trt.compiler import Target, check_precision, compile_engine
from m2a_core.trt.engine_manifest import (
    NOT_VERIFIED,
    EngineKey,
    EngineManifest,
    load_checked,
    manifest_path,
    reference_path,
)
from m2a_core.trt.gpu import Gpu, gpu_or_reason
from m2a_core.trt.headers import download_headers
from m2a_core.trt.plugin_build import DOWNLOADED_HEADERS, ensure_plugin, find_headers, identity_of
from m2a_core.trt.reference import save_reference
from m2a_core.trt.source import SourceGraph, for_parser, read_source
from m2a_core.trt.verification import verify_on_device


@dataclass(frozen=True)
class BuildRequest:
    """What is asked of a build.

    Attributes:
        onnx: graph of `m2a export` or `m2a quantize`.
        out: the engine; manifest and reference lie beside it.
        plugin: the plugin's library; None: built once and kept.
        frames: uint8 [H, W, 3] each, real images of any size, for the parity gate; at least one.
        precision: ``fp32``, ``fp16`` or ``int8``.
        input_size: H, W that the graph must have; None takes the graph's.
        batches: batch sizes to tune for.
        backend: ``tensorrt`` or ``tensorrt_rtx``.
        capability: architecture to build for; None: that of the GPU here.
        device: index of the GPU.
        rebuild: replace an engine that is another than asked for.
        workspace: bytes of the GPU that a layer may use beside its tensors; None: a quarter of the GPU's memory.
    """

    onnx: Path
    out: Path
    plugin: Path | None
    frames: Sequence[np.ndarray]
    precision: str = "fp16"
    input_size: tuple[int, int] | None = None
    batches: tuple[int, ...] = (1,)
    backend: str = TENSORRT
    capability: str | None = None
    device: int = 0
    rebuild: bool = False
    workspace: int | None = None


def build_engine(request: BuildRequest, say: Callable[[str], None]) -> EngineManifest:
    """Build an engine, or find that the one there is it.

    Args:
        request: what to build.
        say: takes lines for the user.

    Returns:
        The engine's manifest.

    Raises:
        ConfigError: the request does not fit the graph, the back end or the machine.
        ModelError: the graph is not ours, an engine of another key is there, the build fails, or its result is out of
            tolerance; what was there stays.
    """
    if not request.frames:
        raise ConfigError("parity gate: expected at least one real frame, got none; name images with --frames")
    if request.out.is_dir():
        raise ConfigError(f"{request.out}: is a directory; name the engine's file")
    request = replace(request, batches=tuple(sorted(request.batches)))
    source = read_source(request.onnx)
    source.check(request.input_size, request.batches, request.precision)
    backend = load_backend(request.backend)
    gpu = gpu_or_reason(request.device)
    architecture = backend.architecture(request.capability, gpu)
    check_precision(backend, request.precision, architecture)
    # After all that can be refused at once: compiling it takes a while.
    plugin = request.plugin or ensure_plugin(headers=headers_for(backend, say), say=say)
    backend.load_plugin(plugin)
    # TensorRT chooses kernels by their time on the GPU at hand; TensorRT for RTX does so when it loads the engine.
    tuned_on = gpu if isinstance(gpu, Gpu) and backend.name == TENSORRT else None
    key = EngineKey(
        onnx_sha256=source.sha256,
        plugin_identity=identity_of(plugin),
        backend=backend.name,
        version=backend.version,
        architecture=architecture,
        gpu=tuned_on.name if tuned_on else "",
        gpu_memory=tuned_on.memory >> 20 if tuned_on else 0,
        precision=request.precision,
        input_size=source.input_size,
        batches=request.batches,
    )
    if request.out.exists() and not request.rebuild:
        return _existing(request.out, key, say)
    say(f"{backend.name} {backend.version}, plugin {OP_TYPE} version {PLUGIN_VERSION} from {plugin}")

    say(f"gate: {request.precision} graph in ONNX Runtime, {len(request.frames)} frames ...")
    images = [Letterbox(source.input_size).apply(frame)[0] for frame in request.frames]
    reference = run_graph(source.model.SerializeToString(), images)
    graph = source.for_engine(request.precision)
    tolerance = TOLERANCES["mixed" if request.precision == "fp16" else request.precision]
    if graph is source.model:
        # Nothing was changed; what its precision costs was measured when it was exported or quantised.
        parity = compare(reference, reference)
    else:
        parity = _graph_parity(source, graph.SerializeToString(), images, reference, request.precision, tolerance)

    # Minutes before the engine is there to be written.
    _make_writable(request.out)
    start = time.monotonic()
    target = Target(
        architecture,
        request.precision,
        source.input_size,
        request.batches,
        dynamic=source.max_batch > 1,
        workspace=request.workspace or (gpu.memory // 4 if isinstance(gpu, Gpu) else None),
    )
    # Without a GPU there is nothing to time on, and TensorRT for RTX fails when given a cache.
    cache = request.out.with_suffix(".timing") if backend.name == TENSORRT and isinstance(gpu, Gpu) else None
    engine = compile_engine(backend, for_parser(graph), plugin, source.plugin_nodes, target, cache)
    seconds = time.monotonic() - start
    say(f"plugin {OP_TYPE} replaced {len(engine.plugin_layers)} layers: {', '.join(engine.plugin_layers)}")
    say(f"built for {architecture} in {seconds:.0f} s, {len(engine.data) / 2**20:.1f} MiB")

    try:
        with tempfile.TemporaryDirectory(dir=request.out.parent, prefix=f".{request.out.name}.") as folder:
            staged = Path(folder, request.out.name)
            staged.write_bytes(engine.data)
            save_reference(reference_path(staged), images, reference)
            digests = sha256_of(staged), sha256_of(reference_path(staged))
            manifest = EngineManifest(key, *digests, engine.plugin_layers, parity, NOT_VERIFIED, seconds)
            manifest.save(manifest_path(staged))
            if isinstance(gpu, Gpu) and gpu.architecture == architecture:
                manifest = verify_on_device(staged, plugin, request.device)
            # The manifest comes last: until then the old one's hash refuses the new engine.
            for path_of in (reference_path, Path, manifest_path):
                path_of(staged).replace(path_of(request.out))
    except OSError as error:
        raise ModelError(f"{request.out}: cannot write the engine ({error})") from error
    known = manifest.verified or graph is not source.model
    said = (
        f"against ONNX Runtime on {manifest.parity.describe()}"
        if known
        else f"the graph is built as exported, in {source.precision}"
    )
    if manifest.verified:
        scratch = (manifest.device_memory or 0) / 2**20
        said = f"batch sizes {', '.join(map(str, manifest.verified_batches))}, {scratch:.1f} MiB of scratch; {said}"
    say(f"{manifest.verification}: {said}")
    say(f"written to {request.out}")
    return manifest


def run_graph(graph: bytes, images: Sequence[np.ndarray]) -> list[NetworkOutput]:
    """What ONNX Runtime says of images at the network's size, one at a time."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    there = {output.name for output in session.get_outputs()}
    names = [spec.name for spec in OUTPUTS + CAMERA_OUTPUTS if spec.name in there]
    results = []
    for image in images:
        values = session.run(names, {INPUT.name: image[None]})
        results.append(NetworkOutput(**{name: value[0] for name, value in zip(names, values, strict=True)}))
    return results


def _make_writable(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ModelError(f"{out}: cannot write the engine ({error})") from error


def headers_for(backend: Backend, say: Callable[[str], None]) -> Path:
    """TensorRT's headers; fetched where they are missing and cannot be expected, as TensorRT for RTX is a wheel."""
    try:
        return find_headers()
    except ModelError:
        if backend.name != TENSORRT_RTX:
            raise
    say(f"no headers of TensorRT here: fetching them (0.2 MB, hash checked) to {DOWNLOADED_HEADERS} ...")
    download_headers(DOWNLOADED_HEADERS)
    return DOWNLOADED_HEADERS


def _existing(out: Path, key: EngineKey, say: Callable[[str], None]) -> EngineManifest:
    try:
        manifest = load_checked(out)
    except ModelError as error:
        # Power that fails while an engine is written, or an update of m2a: what is there is not the one asked for.
        raise OtherEngineError(str(error)) from error
    differences = manifest.key.differences(key)
    if differences:
        raise OtherEngineError(
            f"{out}: an engine exists but it is not the one asked for: {'; '.join(differences)}. "
            "Build it again with --rebuild, or choose another --out"
        )
    say(f"{out}: up to date, {manifest.verification}")
    return manifest


def _graph_parity(
    source: SourceGraph,
    graph: bytes,
    images: Sequence[np.ndarray],
    reference: Sequence[NetworkOutput],
    precision: str,
    tolerance: Tolerance,
) -> Parity:
    """The part of the gate that needs no GPU: has the precision alone broken the network?"""
    got = run_graph(graph, images)
    parity = compare(got, reference)
    violations = parity.violations(tolerance) + camera_violations(got, reference)
    if violations:
        raise ToleranceError(
            f"{source.path}: in precision {precision} the graph is out of tolerance before it is built "
            f"({'; '.join(violations)}); nothing was written: build with another precision"
        )
    return parity
