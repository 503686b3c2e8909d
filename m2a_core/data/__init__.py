"""The public benchmarks as they are distributed, read into one form; nothing here downloads."""
