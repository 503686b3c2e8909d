"""Graph bytes in, engine bytes out: TensorRT's parser and builder, with every failure named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core.contract.io_spec import INPUT
from m2a_core.contract.plugin import OP_TYPE
from m2a_core.errors import ModelError
from m2a_core.files import replaced
from m2a_core.trt.backend import TENSORRT_RTX, Backend
from m2a_core.trt.progress import progress_monitor

_LOG = logging.getLogger("m2a.trt")


@dataclass(frozen=True)
class Engine:
    """A serialised engine and the layers in it that the plugin computes."""

    data: bytes
    plugin_layers: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What to build for.

    Attributes:
        architecture: such as ``sm89``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        input_size: H, W.
        batches: ascending.
        dynamic: the graph's batch is not fixed.
        workspace: bytes of the GPU that a layer may use beside its tensors; None: no limit.
    """

    architecture: str
    precision: str
    input_size: tuple[int, int]
    batches: tuple[int, ...]
    dynamic: bool
    workspace: int | None = None


def compile_engine(
    backend: Backend, graph: bytes, plugin: Path, plugin_nodes: Sequence[str], target: Target, timing_cache: Path | None
) -> Engine:
    """Build an engine; the plugin is looked up in TensorRT's registry and must be loaded.

    Args:
        backend: which TensorRT.
        graph: ONNX without local functions.
        plugin: its library, for messages.
        plugin_nodes: names of the nodes that must become layers of the plugin.
        target: what for.
        timing_cache: kept between builds; None where there is no GPU to take times on.

    Raises:
        ModelError: the graph is refused, the plugin is missing or refuses it, or the build fails.
        KeyboardInterrupt: the user ended the build.
    """
    trt = backend.trt
    builder = trt.Builder(backend.logger)
    if builder is None:
        raise ModelError(f"{backend.name} {backend.version}: no builder ({backend.take_errors()})")
    # Where the flag is gone, there is nothing but strong typing.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    config = builder.create_builder_config()
    backend.aim(config, target.architecture)
    parser = trt.OnnxParser(network, backend.logger)
    if not parser.parse(graph):
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = "; ".join(dict.fromkeys(f"{e.node_name()} ({e.node_operator()}): {e.desc()}" for e in found))
        raise ModelError(
            f"{backend.name} {backend.version} does not take the graph: {reasons or backend.take_errors()}; "
            f"is plugin {OP_TYPE} of {plugin} the one that this graph needs?"
        )
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    replaced = tuple(layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3)
    if len(replaced) != len(plugin_nodes):
        raise ModelError(
            f"{len(plugin_nodes)} nodes of the graph are {OP_TYPE} but {backend.name} made {len(replaced)} layers of "
            "the plugin; nothing was written"
        )
    _add_profiles(builder, config, target)
    # Streams of the engine's own multiply its scratch memory, fourteen-fold in a measured case; a vehicle has the
    # cameras' own streams to fill the GPU with.
    config.max_aux_streams = 0
    if target.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, target.workspace)
    # TensorFloat-32 keeps 10 bits: not what a user who asks for fp32 gets elsewhere.
    if target.precision == "fp32" and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    cache = create_timing_cache(config, timing_cache)
    backend.messages.clear()
    with progress_monitor(trt) as monitor:
        config.progress_monitor = monitor
        serialised = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if serialised is None:
        raise ModelError(
            f"{backend.name} {backend.version} cannot build the engine for {target.architecture} in "
            f"{target.precision}: {backend.take_errors()}"
        )
    if cache is not None and timing_cache is not None:
        save_timing_cache(cache, timing_cache)
    return Engine(bytes(serialised), replaced)


def check_precision(backend: Backend, precision: str, architecture: str) -> None:
    """Refuse what a platform is known not to do, before minutes are spent on it.

    Raises:
        ModelError: naming precision and architecture.
    """
    generation = int(architecture[2:])
    # TensorRT for RTX has no single-precision matrix product for Turing; INT8 tensor cores came with it.
    if backend.name == TENSORRT_RTX and generation < 80 and precision == "fp32":
        raise ModelError(
            f"precision fp32: {backend.name} {backend.version} has no single-precision products for {architecture}; "
            "build with --precision fp16"
        )
    if precision == "int8" and generation < 72:
        raise ModelError(f"precision int8: {architecture} has no INT8 tensor cores; build with --precision fp16")


def _add_profiles(builder: Any, config: Any, target: Target) -> None:
    """One profile for each batch size, tuned for it; a fixed batch needs none."""
    if not target.dynamic:
        return
    for batch in target.batches:
        profile = builder.create_optimization_profile()
        shape = (batch, *target.input_size, 3)
        profile.set_shape(INPUT.name, shape, shape, shape)
        config.add_optimization_profile(profile)


def create_timing_cache(config: Any, path: Path | None) -> Any:
    """Give a builder's configuration the kept timing cache, or a new one where that is refused; None without one."""
    if path is None:
        return None
    try:
        kept = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        kept = b""
        _LOG.warning("%s: cannot read the timing cache (%s); starting a new one", path, error)
    for data in (kept, b"") if kept else (b"",):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
        if data:
            _LOG.warning("%s: a timing cache of another GPU or TensorRT, or damaged; starting a new one", path)
    _LOG.warning("%s: TensorRT takes no timing cache; building without", path)
    return None


def save_timing_cache(cache: Any, path: Path) -> None:
    """Write a timing cache; the engine is worth having without it."""
    try:
        with replaced(path) as temporary:
            temporary.write_bytes(bytes(cache.serialize()))
    except OSError as error:
        _LOG.warning("%s: cannot write the timing cache (%s); the next build takes as long as this one", path, error)
