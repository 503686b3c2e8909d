"""Names that the exported graph, the plugin and the builder must spell alike; README.md here is the whole contract."""

from __future__ import annotations

DOMAIN = "m2a"
"""ONNX domain of the node; TensorRT looks plugins up by type, version and namespace alone."""

OP_TYPE = "MSDeformAttn"
PLUGIN_VERSION = "1"
PLUGIN_NAMESPACE = ""
