"""``m2a train``: train a network from a configuration file."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

HELP = "train a network (needs the 'train' extra)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--config", type=Path, required=True, help="e.g. config/training/m2a-edge.yaml")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"), help="holds camvid/ and outliers/")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/NAME")
    parser.add_argument("--resume", action="store_true", help="continue from the run's checkpoint, if there is one")
    parser.add_argument("--threads", type=int, help="CPU threads, in place of the configuration's")
    parser.add_argument("--dry-run", action="store_true", help="read the data, make one batch, and stop")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when all stages are done, 3 when stopped by a signal after saving a checkpoint."""
    # Torch is imported here so that ``m2a --help`` needs none.
    import cv2
    import torch

    from m2a_core.model import MODELS
    from m2a_core.training.build import build_trainer
    from m2a_core.training.config import load_config
    from m2a_core.training.weights import save_weights

    config = load_config(args.config)
    threads = args.threads if args.threads is not None else config.threads
    if threads > 0:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    out = args.out or Path("runs") / config.name
    trainer = build_trainer(config, args.config.parent, args.data_root, out)
    if args.dry_run:
        images, targets = trainer.batches.get(config.stages[0], 0, 0)
        print(f"{len(trainer.batches.frames)} frames; batch {list(images.shape)}; "
              f"segments per image {[len(t.classes) for t in targets]}")  # fmt: skip
        return 0
    (out / "config.yaml").write_text(args.config.read_text(encoding="utf-8"), encoding="utf-8")
    if args.resume and trainer.checkpoint.exists():
        trainer.resume()
        print(f"resumed at stage {trainer.progress.stage}, step {trainer.progress.step}")
    done = trainer.run()
    notes = {"run": config.name, "stages_done": str(trainer.progress.stage), "step": str(trainer.progress.step)}
    model_config = dataclasses.replace(MODELS[config.model])
    path = out / f"{config.model}.safetensors"
    digest = save_weights(trainer.average.state_dict(), model_config, path, notes)
    print(f"{path} sha256 {digest}")
    return 0 if done else 3
