"""Metrics of the paper's Sec. 7.2, NumPy only; nothing here draws or reads files but what it spilled itself."""
