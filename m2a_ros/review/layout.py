"""Files of a finished replay, as ``replay`` writes and ``review`` reads them."""

from __future__ import annotations

FRAMES, PROBLEMS = "frames.jsonl", "problems.jsonl"
OUTPUT_BAG = "bag"
