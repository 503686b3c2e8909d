"""Foreign checkpoints, kept out of the model: reading, strict name maps, conversion, m2a's own files."""
