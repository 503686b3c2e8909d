"""ONNX export: the graph's contract, the exporter and its verification."""
