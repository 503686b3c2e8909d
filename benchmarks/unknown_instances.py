"""PQ of unknown instances of a model on a folder of images and masks (0 known, 1 anomaly, 255 void).

True instances are the 8-connected components of the anomaly; smaller ones than --min-pixels are void.

python benchmarks/unknown_instances.py --root out/validation/composed
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.data.catalog import open_dataset
from m2a_core.images import read_image
from m2a_core.metrics.panoptic import PanopticQuality, Segments
from m2a_core.perception import Perception
from m2a_core.types import Frame, Output

KNOWN_SEGMENT = 1


def true_segments(mask: np.ndarray, unknown_id: int, min_pixels: int) -> Segments:
    """Ground truth of one frame: all known pixels as one segment, every object as one."""
    count, components, stats, _ = cv2.connectedComponentsWithStats((mask == 1).astype(np.uint8), connectivity=8)
    ids = np.where(mask == 0, KNOWN_SEGMENT, 0)
    classes = {KNOWN_SEGMENT: 0}
    for i in range(1, count):
        if stats[i, cv2.CC_STAT_AREA] >= min_pixels:
            ids[components == i] = KNOWN_SEGMENT + i
            classes[KNOWN_SEGMENT + i] = unknown_id
    return Segments(ids, classes)


def main() -> None:
    """Print PQ, SQ, RQ and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--min-pixels", type=int, default=50)
    args = parser.parse_args()
    perception = Perception.load(args.model)
    unknown = perception.labels.unknown_id
    dataset = open_dataset("folder", args.root)
    quality = PanopticQuality()
    for sample in dataset.samples:
        found = perception.infer(Frame(read_image(sample.image)), frozenset({Output.UNKNOWN_INSTANCES}))
        assert found.unknown_instances is not None
        predicted = Segments(found.unknown_instances, {i.id: unknown for i in found.instances})
        quality.update(predicted, true_segments(dataset.anomaly_truth(sample), unknown, args.min_pixels))
    total = quality.quality([unknown])
    print(f"{len(dataset.samples)} frames: {total}")


if __name__ == "__main__":
    main()
