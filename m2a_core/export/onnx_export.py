"""PyTorch network -> one self-contained ONNX graph of fixed image size."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import torch

from m2a_core.contract.io_spec import FULL_MASKS, INPUT, OUTPUTS, RAW_OUTPUTS
from m2a_core.errors import ConfigError, ExportError
from m2a_core.export.network import ExportedNetwork
from m2a_core.export.portable import attach_body
from m2a_core.export.tracing import strip_notes, trace
from m2a_core.trt.precision import PRECISIONS, Precision, convert

OPSET = 18
"""GridSample and ReduceMax with axes as input are in it; ONNX Runtime 1.17 and TensorRT 10 read it."""

MAX_BATCH = 64


@dataclass(frozen=True)
class ExportOptions:
    """How a graph is written.

    Attributes:
        precision: see ``m2a_core.trt.precision``.
        max_batch: 1 fixes the batch at one image; N admits 1 to N.

    Raises:
        ConfigError: an unknown precision or a batch out of range.
    """

    precision: Precision = "fp32"
    max_batch: int = 1

    def __post_init__(self) -> None:
        """Validate."""
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision '{self.precision}': expected one of {', '.join(PRECISIONS)}")
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise ConfigError(f"batch {self.max_batch}: expected 1 to {MAX_BATCH} images")


PLAIN = ExportOptions()


def build_onnx(network: ExportedNetwork, metadata: dict[str, str], options: ExportOptions = PLAIN) -> onnx.ModelProto:
    """Export for images of the network's input size; constants folded, weights inside.

    The deformable attention is one node with a portable body (``m2a_core.export.portable``).

    Args:
        network: in evaluation mode.
        metadata: what goes into the graph's ``metadata_props``, beside ``m2a.precision`` and ``m2a.max_batch``.
        options: precision and batch.

    Returns:
        A checked graph with the tensors of ``io_spec``.

    Raises:
        ExportError: the exporter met an operation it cannot express, or its result fails ONNX's checker.
    """
    image = torch.zeros(options.max_batch, *network.input_size, 3, dtype=torch.uint8)
    outputs = OUTPUTS + RAW_OUTPUTS + ((FULL_MASKS,) if network.full_masks else ())
    try:
        graph = trace(
            network.eval(), (image,), (INPUT.name,), [spec.name for spec in outputs], OPSET, options.max_batch
        )
        strip_notes(graph)
        attach_body(graph, OPSET, options.max_batch)
        graph = convert(graph, options.precision)
        stated = {**metadata, "m2a.precision": options.precision, "m2a.max_batch": str(options.max_batch)}
        for key, value in stated.items():
            graph.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(graph, full_check=True)
    except (
        torch.onnx.errors.OnnxExporterError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        # The exporter wraps the reason in advice on how to file a bug; the reason itself is its cause.
        raise ExportError(
            f"'{network.model.config.name}': cannot be exported to ONNX opset {OPSET}: {error.__cause__ or error}"
        ) from error
    return graph
