"""torch.onnx's exporter, called one way everywhere and silent."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import torch
from torch import nn

_SCOPES = "pkg.torch.onnx.name_scopes"


def trace(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    opset: int,
    max_batch: int,
) -> onnx.ModelProto:
    """Export a module; constants folded, weights inside.

    Args:
        module: in evaluation mode.
        example: one tensor per input; the first axis is the batch.
        inputs: names.
        outputs: names.
        opset: of the graph.
        max_batch: 1: the batch is fixed at 1; N: it may be 1 to N.

    Raises:
        torch.onnx.errors.OnnxExporterError: an operation cannot be expressed.
    """
    batch = torch.export.Dim("B", min=1, max=max_batch) if max_batch > 1 else None
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            optimize=True,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in example) if batch else None,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def strip_notes(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: Python stack traces with paths of this machine.

    Of these the module that a node comes from is kept, as the first part of the node's name.
    """
    del graph.metadata_props[:]
    graph.graph.ClearField("metadata_props")
    graph.doc_string = ""
    body = graph.graph
    for node in body.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        scope = notes.get(_SCOPES, "").strip("[]").replace("'", "").split(", ")
        node.name = "/".join(filter(None, (*scope[-2:-1], node.name)))
    for items in (body.node, body.initializer, body.value_info, body.input, body.output):
        for item in items:
            item.doc_string = ""
            item.ClearField("metadata_props")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes, which no user can act on, off the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
