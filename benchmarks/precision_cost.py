"""What a precision costs: AuPRC and FPR95 on composed frames, mIoU on held-apart frames, several bundles side by side.

ONNX Runtime on the CPU; all bundles see the same frames. The composed set is that of benchmarks/road_sets.py.

m2a quantize --model m2a-edge --frames calibration/ --out out/m2a-edge-int8
python benchmarks/precision_cost.py --models m2a-edge out/m2a-edge-int8 --composed out/validation/composed \
    --data-root data --json out/precision_cost.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from m2a_core.data.files import read_truth
from m2a_core.images import read_image
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.metrics.semantic import Confusion, mean_iou
from m2a_core.perception import Perception
from m2a_core.training.config import load_config
from m2a_core.training.datasets import camvid_sources
from m2a_core.types import Frame, Output


def main() -> None:
    """Print a table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME_OR_PATH")
    parser.add_argument("--composed", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="default: %(default)s")
    parser.add_argument("--config", type=Path, default=Path("config/training/m2a-edge.yaml"))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th frame")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    config = load_config(args.config)
    _, sources = camvid_sources(args.data_root / "camvid", config.data.splits, config.data.held_apart)
    images = sorted((args.composed / "images").glob("*.png"))[:: args.every]
    results = {}
    for name in args.models:
        perception = Perception.load(name)
        figures = measure(
            perception, images, args.composed / "masks", [source.read() for source in sources[:: args.every]]
        )
        perception.close()
        results[name] = figures
        print(f"{name}: " + "  ".join(f"{key} {value:.4f}" for key, value in figures.items()), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(perception: Perception, images: list[Path], masks: Path, held: list) -> dict[str, float]:
    anomaly, refined = PixelMetrics(), PixelMetrics()
    for path in images:
        truth = read_truth(masks / path.name)
        result = perception.infer(Frame(read_image(path)), frozenset({Output.ANOMALY, Output.REFINED}))
        anomaly.update(result.anomaly, truth)
        refined.update(result.refined, truth)
    confusion = Confusion(perception.labels.num_classes)
    for frame in held:
        result = perception.infer(Frame(frame.image), frozenset({Output.SEMANTIC}))
        confusion.update(result.semantic, frame.label)
    of_f, of_refined = anomaly.compute(), refined.compute()
    return {
        "auprc": of_f.auprc,
        "fpr95": of_f.fpr95,
        "refined_auprc": of_refined.auprc,
        "refined_fpr95": of_refined.fpr95,
        "miou": mean_iou(confusion.iou()),
    }


if __name__ == "__main__":
    main()
