"""Show what a network costs: parameters, multiply-adds and memory at an input size.

Multiply-adds are those of convolutions, matrix products and attention, counted while the network runs at that size
(torch.utils.flop_counter, halved: one multiply-add is two operations). The bilinear sampling of deformable attention is
added by formula (five per sample and channel: four neighbours and the attention weight) and shown apart. Table 10 of
the paper counts differently; see docs/networks.md.

example:
  m2a info r50-cityscapes --size 512x1024
"""

from __future__ import annotations

import argparse

_WIDTHS = (12, 12, 15, 10, 10, 10)

HELP = "show parameters, multiply-adds and memory of a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="network by name, e.g. r50-cityscapes; 'all' for a table")
    parser.add_argument("--size", default="512x1024", metavar="HxW", help="input in pixels (default: %(default)s)")
    parser.add_argument(
        "--attention", choices=("global_masked", "masked", "cross"), help="kind of attention (default: the model's own)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    from dataclasses import asdict

    from m2a_core.cli.export import parse_size
    from m2a_core.model.cost import measure
    from m2a_core.model.zoo import MODELS, named_config

    size = parse_size(args.size)
    names = list(MODELS) if args.model == "all" else [args.model]
    costs = [measure(named_config(name, args.attention), size) for name in names]
    if args.json:
        from m2a_core.files import json_text

        print(json_text([asdict(cost) for cost in costs], indent=2))
        return 0
    print(f"at {size[0]}x{size[1]}, float32; M = 10^6, G = 10^9")
    columns = ("parameters", "frozen enc.", "multiply-adds", "sampling", "weights", "peak")
    print(f"{'model':24}" + "".join(f"{name:>{width}}" for name, width in zip(columns, _WIDTHS, strict=True)))
    for cost in costs:
        print(
            f"{cost.model:24}{cost.parameters / 1e6:10.2f} M{cost.trainable / 1e6:10.2f} M"
            f"{cost.multiply_adds / 1e9:13.1f} G{cost.sampling / 1e9:8.1f} G"
            f"{cost.weight_bytes / 2**20:6.0f} MiB{cost.activation_bytes / 2**20:6.0f} MiB"
        )
    return 0
