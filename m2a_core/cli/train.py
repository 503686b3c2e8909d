"""Train a network as a configuration file says. Needs the extra `train` (PyTorch).

The configuration names the model, the data and the stages: known classes first (Sec. 3 of the paper), then outliers
that are pasted into the frames (Sec. 4.3). DATA_ROOT holds one folder per data set; for m2a-edge these are
cityscapes_640/, camvid/, idd_lite/, outliers/ and outliers_coco/. docs/datasets.md shows their layout,
docs/training.md what the paper's recipes need. To train on your own classes, start with docs/own_data.md. CamVid's
test split is refused.

OUT receives
  checkpoint.pt        everything that --resume needs; replaced as a whole, so that a kill or a full disk loses nothing
  MODEL.safetensors    the averaged weights at the end, for `m2a export`; with MODEL.safetensors.sha256
  metrics.jsonl        one line per step (losses, gradient norm, rate) and per validation (mIoU, AuPRC, FPR95)
  tensorboard/         the same for TensorBoard, if it is installed (extra `tensorboard`)
  config.yaml          the configuration

A run that was stopped and resumed gives the same weights as one in one piece (on the CPU bit for bit). Ctrl-C and
SIGTERM save a checkpoint first; the exit code is then 3. A loss that is not finite stops the run and saves the batch
as OUT/bad_batch_STAGE_STEP.pt. A frame that cannot be read also stops it, with a checkpoint. --check finds such frames
beforehand: it reads every file, counts classes, draws eight training samples into OUT/check.jpg and ends with code 2
if something is broken.

Under torchrun the processes share each batch. The result is that of one process, up to rounding.

examples:
  m2a train --config config/training/own.yaml --data-root my_data --steps 50 --out runs/first    # a first try
  m2a train --config config/training/m2a-edge.yaml --data-root /data --check       # reads every file, trains nothing
  m2a train --config config/training/m2a-edge.yaml --data-root /data --dry-run     # makes one batch of each stage
  m2a train --config config/training/m2a-edge.yaml --data-root /data --out runs/first --resume
  torchrun --nproc_per_node=2 --no-python m2a train --config config/training/as-cityscapes.yaml --data-root /data
  tensorboard --logdir runs/first/tensorboard
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import relative_path

if TYPE_CHECKING:
    from m2a_core.training.config import TrainConfig
    from m2a_core.training.datasets import FrameSource
    from m2a_core.training.trainer import Trainer

HELP = "train a network (needs the 'train' extra)"

EXIT_STOPPED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="what to train, e.g. config/training/own.yaml"
    )
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), metavar="DIR", help="folder of the data (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME, by the configuration's name)"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the run's checkpoint, if there is one")
    parser.add_argument("--steps", type=int, metavar="N", help="at most N steps a stage, for a first try")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, in place of the configuration's")
    parser.add_argument("--cpu", action="store_true", help="use no GPU")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="read the data, make one batch of each stage, and stop")
    only.add_argument("--check", action="store_true", help="read every file of the data, report, and stop")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when all stages are done, 3 when stopped by a signal after saving a checkpoint."""
    # Torch is imported here so that ``m2a --help`` needs none.
    import cv2
    import torch

    from m2a_core.training.accelerator import Accelerator
    from m2a_core.training.build import build_trainer
    from m2a_core.training.config import load_config
    from m2a_core.training.own import shortened
    from m2a_core.training.weights import save_weights

    config = load_config(args.config)
    if args.steps is not None:
        if args.steps < 1:
            raise ConfigError(f"--steps: expected at least 1, got {args.steps}")
        config = shortened(config, args.steps)
    out = args.out or Path("runs") / relative_path(config.name, args.config)
    if args.check:
        return _check(config, args, out)
    if (out / "checkpoint.pt").exists() and not args.resume and not args.dry_run:
        raise ConfigError(f"{out} holds a run: add --resume to continue it, or name another folder with --out")
    threads = args.threads if args.threads is not None else config.threads
    if threads > 0:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    accelerator = Accelerator(config.precision, args.cpu)
    trainer = build_trainer(config, args.config.parent, args.data_root, out, accelerator)
    if accelerator.is_main:
        for note in trainer.notes:
            print(f"note: {note}")
    if args.dry_run:
        _describe(trainer)
        return 0
    if args.resume and trainer.checkpoint.exists():
        trainer.resume()
        if accelerator.is_main:
            print(_resumed(trainer))
    try:
        out.mkdir(parents=True, exist_ok=True)
        if accelerator.is_main:
            (out / "config.yaml").write_text(args.config.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from error
    done = trainer.run()
    if accelerator.is_main:
        notes = {"run": config.name, "stages_done": str(trainer.progress.stage), "step": str(trainer.progress.step)}
        path = out / f"{config.model}.safetensors"
        digest = save_weights(trainer.result(), trainer.model.config, path, notes)
        print(f"{path} sha256 {digest}")
    return 0 if done else EXIT_STOPPED


def _resumed(trainer: Trainer) -> str:
    stages, stage = trainer.config.stages, trainer.progress.stage
    if stage < len(stages):
        return f"resumed at stage {stage}, step {trainer.progress.step}"
    return f"the run in {trainer.out} is finished, all {len(stages)} stages are done: nothing is trained"


def _check(config: TrainConfig, args: argparse.Namespace, out: Path) -> int:
    """Read every file; 0 when all is well."""
    from m2a_core.training.build import build_batches, prepare, unknown_objects
    from m2a_core.training.check import check_frames, write_contact_sheet
    from m2a_core.training.false_alarms import open_hard_negatives
    from m2a_core.training.sources import Sources, ground_ids

    prepared = prepare(config, args.config.parent, args.data_root)
    config, network, sources = prepared.config, prepared.network, prepared.sources
    print("".join(f"note: {note}\n" for note in prepared.notes), end="")
    broken = 0
    more = sources.of_stages_alone
    parts = [
        ("train", sources.train),
        *([("train, of stages alone", more)] if more else []),
        ("validation", sources.held),
    ]
    for what, frames in parts:
        report = check_frames(frames, network.labels, what, config.data.void == "class")
        print(f"{what}: " + "\n".join(report.lines(network.labels)))
        broken += len(report.broken)
    if broken:
        raise DataError(f"{args.data_root}: {broken} frames are broken, see above; fix them or leave them out")
    seen, unseen = unknown_objects(prepared, args.config.parent, args.data_root)
    kinds = len({cutout.kind for cutout in seen})
    print(f"outliers: {len(seen)} of {kinds} kinds to train on, {len(unseen)} others to validate with")
    hard = open_hard_negatives(config.data.hard_negatives, args.data_root, network.labels, ground_ids(network.labels))
    if hard is not None:
        print("hard negatives: " + ", ".join(hard.counts()))
    stages = config.stages
    index = max(range(len(stages)), key=lambda i: (stages[i].outlier_prob, stages[i].known_paste_prob))
    own = {index: _some(sources.own[index])} if index in sources.own else {}
    some = Sources(_some(sources.train), sources.held, sources.in_memory, own)
    sheet = out / "check.jpg"
    write_contact_sheet(build_batches(config, network, some, seen, args.data_root, hard), stages[index], index, sheet)
    print(f"{sheet}: eight samples of stage {stages[index].name}")
    return 0


def _some(frames: list[FrameSource]) -> list[FrameSource]:
    return frames[:: max(1, len(frames) // 64)]


def _describe(trainer: Trainer) -> None:
    """Print what training would see."""
    from m2a_core.training.check import count_classes

    frames, mix = trainer.batches.frames, trainer.batches.mix
    print(f"{len(frames)} frames to train on, {len(mix.unknown)} outlier cut-outs, {len(mix.known)} known objects")
    void_class = trainer.batches.data.void == "class"
    counts = count_classes(frames, trainer.labels.num_classes, void_class)
    for count, name in zip(counts.tolist(), trainer.labels.names, strict=True):
        print(f"  {name:12s} in {count} frames" + ("" if count else ": the network cannot learn it"))
    for index, stage in enumerate(trainer.config.stages):
        images, targets = trainer.batches.get(stage, index, 0)
        segments, outlier = [len(t.classes) for t in targets], [int(t.outlier.sum()) for t in targets]
        print(
            f"stage {stage.name}: {stage.iterations} steps; first batch {list(images.shape)}, "
            f"segments per image {segments}, outlier pixels {outlier}"
        )
