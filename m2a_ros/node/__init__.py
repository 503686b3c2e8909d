"""The lifecycle node: queue, stages, publication, diagnostics."""
