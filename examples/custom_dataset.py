"""Measure a model on files of yours, whatever their layout: python examples/custom_dataset.py IMAGES TRUTH

IMAGES holds pictures (JPEG, PNG and others), TRUTH a PNG of the same name for each: 0 known, 1 unknown object, 255 does
not count. For other values, change the mapping below. Where your folders already look like ``m2a evaluate`` expects,
use that command instead.
"""

import sys
from pathlib import Path

import m2a_core as m2a
from m2a_core.data.base import Dataset, Sample
from m2a_core.images import SUFFIXES
from m2a_core.metrics.pixel import PixelMetrics

if len(sys.argv) < 3:
    sys.exit(__doc__)
images, truth = map(Path, sys.argv[1:3])
pictures = {file.stem: file for file in images.iterdir() if file.suffix.lower() in SUFFIXES}
masks = sorted(truth.glob("*.png"))
if not masks or {mask.stem for mask in masks} - pictures.keys():
    sys.exit(f"{truth}: expected PNGs named as the pictures in {images}")
samples = tuple(Sample(mask.stem, pictures[mask.stem], mask) for mask in masks)
dataset = Dataset("mine", samples, anomaly={0: 0, 1: 1}, void=frozenset({255}))  # stored value -> 0 known, 1 unknown

metrics = PixelMetrics()
with m2a.load("m2a-edge") as model:
    for sample in dataset.samples:
        metrics.update(model(sample.picture()).score, dataset.anomaly_truth(sample))
found = metrics.compute()
print(f"{len(samples)} frames: AuPRC {100 * found.auprc:.1f} %, FPR95 {100 * found.fpr95:.1f} %")
