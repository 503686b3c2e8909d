"""Turn a checkpoint of another project into m2a weights: safetensors with a manifest, every tensor accounted for.

  official     the authors' Mask2Anomaly (detectron2 .pth)
  mask2former  facebookresearch/Mask2Former (.pkl, .pth); has no background attention (Eq. 10). With the model's own
               attention (global_masked) that part starts at random and must be trained; --attention masked gives
               Mask2Former itself
  hf           transformers' Mask2FormerForUniversalSegmentation (directory, .safetensors or .bin), as mask2former
  backbone     an initialisation: torchvision or Barlow Twins ResNet, Swin Transformer; the decoders are initialised
               from scratch

example:
  m2a convert --from official best_contrastive.pth r50.safetensors --model r50-cityscapes
  m2a predict street.png --model r50-cityscapes --checkpoint r50.safetensors --size native --out predictions
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.errors import ConfigError

HELP = "turn official, Mask2Former, Hugging Face or backbone checkpoints into m2a weights"

_SOURCES = ("official", "mask2former", "hf", "backbone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("input", type=Path, metavar="IN", help="checkpoint file, or directory of a Hugging Face model")
    parser.add_argument("output", type=Path, metavar="OUT", help="file to write, *.safetensors")
    parser.add_argument("--from", dest="source", choices=_SOURCES, required=True, help="what IN is; see above")
    parser.add_argument("--model", required=True, metavar="NAME", help="network to fill, e.g. r50-cityscapes")
    parser.add_argument(
        "--attention", choices=("global_masked", "masked", "cross"), help="kind of attention (default: the model's own)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="random seed of parts that the checkpoint lacks (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Convert one file."""
    if args.output.suffix != ".safetensors":
        raise ConfigError(f"{args.output}: expected a name that ends in .safetensors")
    import torch

    from m2a_core import __version__
    from m2a_core.model import build_model
    from m2a_core.model.checkpoints.convert import load_foreign
    from m2a_core.model.checkpoints.store import save_weights
    from m2a_core.model.zoo import named_config

    config = named_config(args.model, args.attention)
    torch.manual_seed(args.seed)
    model = build_model(config)
    loaded = load_foreign(model, args.input, args.source)
    manifest = save_weights(
        model,
        args.output,
        {
            "kind": loaded.kind,
            "source": loaded.source.name,
            "source_sha256": loaded.sha256,
            "initialised_anew": list(loaded.initialised),
            "created_with": f"m2a {__version__}",
        },
    )
    print(loaded.describe())
    print(f"{args.output}: {args.model} ({config.attention}), weights SHA-256 {manifest['weights_sha256']}")
    return 0
