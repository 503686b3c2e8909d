"""Measure weights of `m2a train` on the data that training held apart.

The composed set (held-apart frames with objects of unseen kinds) is written to OUT/composed, so that any method and the
exported graph can be measured on it too:

python benchmarks/edge_validation.py --weights runs/m2a-edge/m2a-edge.safetensors --out out/validation
m2a evaluate --dataset folder --root out/validation/composed --model m2a-edge --score anomaly --json out/composed.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from m2a_core.model import MODELS, build_model
from m2a_core.training.composed import compose, write_composed
from m2a_core.training.config import load_config
from m2a_core.training.datasets import load_camvid, load_cutouts
from m2a_core.training.validation import validate


def main() -> None:
    """Write OUT/figures.json and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("config/training/m2a-edge.yaml"))
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    config = load_config(args.config)
    torch.set_num_threads(2)
    model = build_model(MODELS[config.model]).eval()
    model.load_state_dict(load_file(args.weights))
    labels, size = model.config.labels, config.validation.input_size
    _, held = load_camvid(args.data_root / "camvid", config.data.splits, config.data.held_apart)
    _, unseen = load_cutouts(args.data_root / "outliers", args.config.parent / config.data.validation_kinds)
    composed = compose(held, unseen, config.validation.seed)
    write_composed(composed, args.out / "composed")
    text = json.dumps(validate(model, held, composed, labels, size), indent=2)
    (args.out / "figures.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
