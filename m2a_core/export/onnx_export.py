"""PyTorch network -> one self-contained ONNX graph of fixed size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch

from m2a_core.errors import ExportError
from m2a_core.export.io_spec import INPUT, OUTPUTS, RAW_OUTPUTS
from m2a_core.export.network import ExportedNetwork

OPSET = 18
"""GridSample and ReduceMax with axes as input are in it; ONNX Runtime 1.17 and TensorRT 10 read it."""


def build_onnx(network: ExportedNetwork, metadata: dict[str, str]) -> onnx.ModelProto:
    """Export for one image of the network's input size; constants folded, weights inside.

    Args:
        network: in evaluation mode.
        metadata: what goes into the graph's ``metadata_props``.

    Returns:
        A checked graph with the tensors of ``io_spec``.

    Raises:
        ExportError: the exporter met an operation it cannot express, or its result fails ONNX's checker.
    """
    image = torch.zeros(1, *network.input_size, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                network.eval(),
                (image,),
                dynamo=True,
                optimize=True,
                opset_version=OPSET,
                input_names=[INPUT.name],
                output_names=[spec.name for spec in OUTPUTS + RAW_OUTPUTS],
                verbose=False,
            )
        assert program is not None
        graph = program.model_proto
        _strip(graph)
        for key, value in metadata.items():
            graph.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(graph, full_check=True)
    except (
        torch.onnx.errors.OnnxExporterError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError
    ) as error:  # fmt: skip
        # The exporter wraps the reason in advice on how to file a bug; the reason itself is its cause.
        raise ExportError(
            f"'{network.model.config.name}': cannot be exported to ONNX opset {OPSET}: {error.__cause__ or error}"
        ) from error
    return graph


def _strip(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: Python stack traces with paths of this machine."""
    del graph.metadata_props[:]
    graph.graph.ClearField("metadata_props")
    graph.doc_string = ""
    body = graph.graph
    for items in (body.node, body.initializer, body.value_info, body.input, body.output):
        for item in items:
            item.doc_string = ""
            item.ClearField("metadata_props")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes, which no user can act on, off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
