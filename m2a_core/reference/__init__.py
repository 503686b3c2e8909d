"""Perception from a checkpoint in PyTorch, in the authors' own order of operations."""
