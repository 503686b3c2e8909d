"""Score pooling over the network's own masks, without training: objects are scored as wholes.

    python benchmarks/mask_pooling.py --root out/validation/composed

Every pixel belongs to the query whose mask is surest there, of all queries: "no object" ones outline unknown things.
The pooled score is (1 - s) f + s mean of f over the pixels of the query (or over their connected component), for all
queries or for those alone that say "no object". Prints AuPRC and FPR95 of f and f^r, and in how many frames the
average precision of f^r is better than without. ROOT holds images/ and masks/ (0 known, 1 anomaly, 255 void), as
benchmarks/road_sets.py writes them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.bundle_network import bundle_network
from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.data.catalog import open_dataset
from m2a_core.images import read_image
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.openset.refinement import MIN_CLASS_SCORE, refinement_rule
from m2a_core.preprocess import Letterbox
from m2a_core.training.contrastive import class_scores
from m2a_core.training.validation import normalise

VARIANTS = {
    "none": (0.0, False, False),
    **{f"all queries, s = {x}": (x, False, False) for x in (0.25, 0.5, 1.0)},
    **{f"all, components, s = {x}": (x, False, True) for x in (0.25, 0.5, 1.0)},
    **{f"no object, s = {x}": (x, True, False) for x in (0.5, 1.0)},
    **{f"no object, components, s = {x}": (x, True, True) for x in (0.5, 1.0)},
}
"""Name -> share s, only queries whose probability of "no object" exceeds one half, connected components."""


def pooled(anomaly: np.ndarray, masks: np.ndarray, takes_part: np.ndarray, split: bool) -> np.ndarray:
    """Mean score of the pixels that belong to each pixel's query.

    Args:
        anomaly: float [h, w], f at the resolution of the masks.
        masks: float [Q, h, w], sigmoid(M); a pixel that none covers by half keeps its own score.
        takes_part: bool [Q]; pixels of other queries keep their own score.
        split: connected components of a query have means of their own.
    """
    owner = masks.argmax(0)
    pieces = np.where((masks.max(0) > 0.5) & takes_part[owner], owner + 1, 0)
    if split:
        whole, pieces, count = pieces, np.zeros_like(pieces), 0
        for query in np.unique(whole[whole > 0]):
            found, parts = cv2.connectedComponents((whole == query).astype(np.uint8), connectivity=8)
            pieces[parts > 0] = parts[parts > 0] + count
            count += found - 1
    means = np.bincount(pieces.ravel(), anomaly.ravel()) / np.maximum(1, np.bincount(pieces.ravel()))
    return np.where(pieces > 0, means[pieces], anomaly).astype(np.float32)


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--size", default="384,480", help="height,width of the network's input (default: %(default)s)")
    args = parser.parse_args()
    model = bundle_network(load_bundle(args.model))
    rule = refinement_rule(model.config.labels)
    size = tuple(int(n) for n in args.size.split(","))
    letterbox = Letterbox((size[0], size[1]))
    totals = {(name, kind): PixelMetrics() for name in VARIANTS for kind in ("f", "f^r")}
    better = dict.fromkeys(VARIANTS, 0)
    dataset = open_dataset("folder", args.root)
    for sample in dataset.samples:
        boxed, geometry = letterbox.apply(read_image(sample.image))
        output = model(normalise([boxed]))
        masks = output.mask_logits[0].sigmoid()
        anomaly = 1 - class_scores(output.class_logits, output.mask_logits)[0].amax(0)
        top, label = output.class_logits[0].softmax(-1).max(-1)
        hides = torch.isin(label, torch.tensor(sorted(rule.suppressed))) & (top > MIN_CLASS_SCORE)
        hidden = masks[hides].amax(0) if bool(hides.any()) else torch.zeros_like(anomaly)
        nothing = (output.class_logits[0].softmax(-1)[:, -1] > 0.5).numpy()
        means = []
        for share, only, split in VARIANTS.values():
            mean = pooled(anomaly.numpy(), masks.numpy(), nothing | (not only), split)
            means.append((1 - share) * anomaly + share * torch.from_numpy(mean))
        stack = F.interpolate(torch.stack([*means, hidden])[None], size, mode="bilinear")[0]
        *scores, hidden_by = (geometry.undo_continuous(x.numpy()) for x in stack)
        truth = dataset.anomaly_truth(sample)
        alone = {}
        for variant, score in zip(VARIANTS, scores, strict=True):
            for kind, values in (("f", score), ("f^r", score * (hidden_by <= 0.5))):
                totals[variant, kind].update(values, truth)
            single = PixelMetrics()
            single.update(score * (hidden_by <= 0.5), truth)
            alone[variant] = single.compute().auprc
            better[variant] += alone[variant] > alone["none"]
    print("| pooling over | AuPRC f | FPR95 f | AuPRC f^r | FPR95 f^r | frames better |\n|" + " --- |" * 6)
    for variant in VARIANTS:
        plain, refined = (totals[variant, kind].compute() for kind in ("f", "f^r"))
        figures = " | ".join(f"{100 * v:.2f}" for v in (plain.auprc, plain.fpr95, refined.auprc, refined.fpr95))
        print(f"| {variant} | {figures} | {better[variant]} of {len(dataset.samples)} |")


if __name__ == "__main__":
    main()
