"""TensorRT: the plugin, the engine builder and what is written beside an engine."""
